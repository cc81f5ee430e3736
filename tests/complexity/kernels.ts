/** Calls of kernels at many sizes, beside what the formulas of @freelunch/complexity say about each. */
import { type Grain, type Op, ops } from '@freelunch/complexity';
import type { Kernels, Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';

export interface Call {
  name: string;
  formula: (g: Grain) => Op;
  run: () => unknown;
  /** Tensors that the kernel is given, and those of them that it changes. */
  inputs: Tensor[];
  updated?: Tensor[];
  /** What the formula says of FLOPs and exps is the most there can be: the kernel leaves out what scores do not need. */
  atMost?: boolean;
  /** Why traffic is not that of the kernel alone. */
  untraceable?: string;
}

type Args = Record<string, unknown>;

export function callsOf(k: Kernels): Call[] {
  const calls: Call[] = [];
  const rng = random(7);
  const filled = (shape: number[], next: () => number): Tensor => {
    const tensor = k.zeros(shape);
    for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = next();
    return tensor;
  };
  const normal = (...shape: number[]) => filled(shape, () => rng.normal());
  const negative = (...shape: number[]) => filled(shape, () => -0.01 - 0.2 * rng.float());
  const ids = (count: number, below: number) =>
    k.tensor(Int32Array.from({ length: count }, (_, i) => i % below));
  const kernels = k as unknown as Record<string, (args: Args) => unknown>;
  /** @param args what the kernel is called with: tensors among them are its inputs */
  const add = (op: string, size: string, formula: Call['formula'], args: Args, more: Partial<Call> = {}) => {
    const inputs = Object.values(args).filter(
      (value): value is Tensor => typeof value === 'object' && value !== null && 'pointer' in value,
    );
    calls.push({ name: `${op} ${size}`, formula, run: () => kernels[op](args), inputs, ...more });
  };

  for (const [m, n, inner] of [
    [40, 32, 24],
    [7, 9, 300],
    [3, 13, 11],
    [1, 32, 64],
    [130, 7, 520],
    [9, 1, 12],
  ]) {
    for (const transposed of [true, false]) {
      const args = {
        a: normal(m, inner),
        b: transposed ? normal(n, inner) : normal(inner, n),
        bias: normal(n),
        transposeB: transposed,
      };
      const size = `[${m}, ${inner}] x [${inner}, ${n}]${transposed ? ' transposed' : ''}`;
      const sizes = { m, n, k: inner, bias: true, transposed };
      add('matmul', size, (g) => ops.matmul(g, sizes), args);
      const { bias, ...factors } = args;
      const dy = normal(m, n);
      add(
        'matmulBackward',
        size,
        (g) => ops.matmulBackward(g, sizes),
        { ...factors, bias, dy },
        { inputs: [args.a, args.b, dy] },
      );
    }
  }

  const pointwise = [
    'add',
    'multiply',
    'exp',
    'negate',
    'silu',
    'gelu',
    'geluTanh',
    'softplus',
    'logSigmoid',
    'sigmoid',
    'tanh',
    'relu',
    'relu2',
    'elu1',
  ] as const;
  for (const fn of pointwise) {
    for (const size of [64, 13]) {
      const [x, dy] = [normal(size), normal(size)];
      const form = fn === 'gelu' ? { approximate: 'none' } : fn === 'geluTanh' ? { approximate: 'tanh' } : {};
      const args = fn === 'add' || fn === 'multiply' ? { a: x, b: normal(size) } : { x, ...form };
      const op = fn === 'geluTanh' ? 'gelu' : fn;
      add(op, `${fn} ${size}`, (g) => ops.activation(g, fn, size), args);
      add(
        `${op}Backward`,
        `${fn} ${size}`,
        (g) => ops.activation(g, fn, size, true),
        { ...args, dy },
        {
          ...(fn === 'add' && { untraceable: 'gradients are copied by the wrapper' }),
        },
      );
    }
  }

  for (const [rows, widths] of [
    [3, [31]],
    [5, [8]],
    [5, [8, 12]],
    [4, [3, 6]],
  ] as const) {
    const width = widths.reduce((sum: number, size) => sum + size, 0);
    const [x, dy] = [normal(rows, width), normal(rows, width)];
    const options = widths.length === 1 ? { factor: 2, offset: 1 } : { factor: [2, 3], sizes: widths };
    const counted = (g: Grain) => ops.scale(g, rows, widths);
    add('scale', `[${rows}, ${widths.join(' + ')}]`, counted, { x, ...options });
    add('scaleBackward', `[${rows}, ${widths.join(' + ')}]`, counted, { dy, ...options });
  }

  for (const [rows, dim] of [
    [5, 64],
    [40, 24],
    [3, 7],
  ]) {
    const size = `[${rows}, ${dim}]`;
    const [x, z, dy, weight, bias] = [
      normal(rows, dim),
      normal(rows, dim),
      normal(rows, dim),
      normal(dim),
      normal(dim),
    ];
    const sizes = { rows, dim };
    add('rmsNorm', size, (g) => ops.rmsNorm(g, sizes), { x, weight });
    add('rmsNormBackward', size, (g) => ops.rmsNormBackward(g, sizes), { x, weight, dy });
    add('layerNorm', size, (g) => ops.layerNorm(g, sizes), { x, weight, bias });
    add(
      'layerNormBackward',
      size,
      (g) => ops.layerNormBackward(g, sizes),
      { x, weight, bias, dy },
      { inputs: [x, weight, dy] },
    );
    for (const normBeforeGate of [true, false]) {
      const gated = { ...sizes, groups: 1, normBeforeGate };
      const order = normBeforeGate ? 'norm first' : 'gate first';
      add('gatedRmsNorm', `${size}, ${order}`, (g) => ops.gatedRmsNorm(g, gated), {
        x,
        z,
        weight,
        normBeforeGate,
      });
      add('gatedRmsNormBackward', `${size}, ${order}`, (g) => ops.gatedRmsNormBackward(g, gated), {
        x,
        z,
        weight,
        dy,
        normBeforeGate,
      });
    }
  }
  {
    const grouped = { rows: 6, groups: 3, dim: 8 };
    const args = { x: normal(6, 24), z: normal(6, 24), weight: normal(24), groups: 3 };
    add('gatedRmsNorm', 'in 3 groups', (g) => ops.gatedRmsNorm(g, grouped), args);
    add('gatedRmsNormBackward', 'in 3 groups', (g) => ops.gatedRmsNormBackward(g, grouped), {
      ...args,
      dy: normal(6, 24),
    });
  }

  for (const [batch, seqLen, channels, width] of [
    [1, 32, 16, 4],
    [2, 9, 10, 4],
    [2, 9, 10, 3],
    [1, 5, 7, 2],
  ]) {
    const shape = [batch, seqLen, channels];
    const args = {
      x: normal(...shape),
      weight: normal(channels, width),
      bias: normal(channels),
      activation: 'silu',
    };
    const size = `[${shape}] by ${width}`;
    const sizes = { batch, seqLen, channels, width, bias: true, silu: true };
    const initialState = normal(batch, width - 1, channels);
    const going = { ...sizes, initialState: true };
    add('causalConv1d', size, (g) => ops.causalConv1d(g, sizes), args);
    add('causalConv1d', `${size}, going on`, (g) => ops.causalConv1d(g, going), { ...args, initialState });
    add('causalConv1dBackward', size, (g) => ops.causalConv1dBackward(g, sizes), {
      ...args,
      dy: normal(...shape),
    });
    add(
      'causalConv1dStep',
      size,
      (g) => ops.causalConv1dStep(g, sizes),
      { ...args, x: normal(batch, channels), state: initialState },
      { updated: [initialState] },
    );
  }

  for (const [rows, vocabSize] of [
    [4, 64],
    [3, 50],
    [2, 1100],
  ]) {
    const args = { logits: normal(rows, vocabSize), targets: ids(rows, vocabSize) };
    const sizes = { rows, scored: rows, vocabSize };
    add('crossEntropy', `[${rows}, ${vocabSize}]`, (g) => ops.crossEntropy(g, sizes), args);
    const { logSumExp } = k.crossEntropy(args);
    add('crossEntropyBackward', `[${rows}, ${vocabSize}]`, (g) => ops.crossEntropyBackward(g, sizes), {
      ...args,
      logSumExp,
    });
  }

  for (const [count, vocabSize, dModel] of [
    [7, 20, 16],
    [5, 9, 13],
  ]) {
    const args = { ids: ids(count, vocabSize), weight: normal(vocabSize, dModel) };
    const size = `${count} of [${vocabSize}, ${dModel}]`;
    add('embedding', size, () => ops.embedding(count, dModel), args);
    const dy = normal(count, dModel);
    add(
      'embeddingBackward',
      size,
      (g) => ops.embeddingBackward(g, count, vocabSize, dModel),
      { ...args, dy },
      { inputs: [args.ids, dy] },
    );
  }

  for (const [batch, seqLen, nHeads, headDim, interleaved, rule] of [
    [2, 40, 2, 16, false, undefined],
    [1, 70, 3, 12, false, undefined],
    [1, 40, 2, 10, true, undefined],
    [1, 1, 2, 16, false, undefined],
    [1, 40, 2, 16, false, 'linear'],
    [1, 40, 2, 16, false, 'llama3'],
    [1, 1, 2, 16, false, 'yarn'],
    [1, 40, 2, 16, false, 'dynamic'],
  ] as const) {
    const scaling = rule && {
      type: rule,
      factor: 4,
      ...(rule !== 'linear' && { originalMaxLength: 64 }),
      ...(rule === 'llama3' && { lowFreqFactor: 1, highFreqFactor: 4 }),
    };
    const args = {
      x: normal(batch, seqLen, nHeads, headDim),
      convention: interleaved ? 'interleaved' : 'half',
      scaling,
    };
    add(
      'rope',
      `[${args.x.shape}]${interleaved ? ' interleaved' : ''}${rule ? `, ${rule}` : ''}`,
      (g) => ops.rope(g, { batch, seqLen, nHeads, headDim, interleaved, scaling: rule }),
      args,
    );
  }

  for (const size of [64, 31]) {
    const [parameter, gradient, m, v] = [normal(size), normal(size), normal(size), k.zeros([size])];
    add(
      'adamW',
      `${size}`,
      (g) => ops.adamW(g, size, [size]),
      { parameter, gradient, m, v, step: 3, learningRate: 1e-3 },
      { updated: [parameter, m, v] },
    );
  }
  {
    const [x, target] = [normal(5, 12), normal(13)];
    add('split', '[5, 12]', () => ops.copy(60), { x, sizes: [4, 8] });
    add('accumulate', '13', () => ops.accumulate(13), { target, source: normal(13) }, { updated: [target] });
  }

  for (const [batch, seqLen, dInner, dState] of [
    [1, 64, 16, 16],
    [2, 150, 10, 8],
    [1, 300, 24, 5],
    [1, 7, 3, 4],
    [1, 90, 8, 64],
    [2, 40, 130, 4],
  ]) {
    const row = [batch, seqLen, dInner];
    const rows = [batch, seqLen, dState];
    const rates = {
      A: negative(dInner, dState),
      D: normal(dInner),
      deltaBias: normal(dInner),
      deltaSoftplus: true,
    };
    const args = {
      u: normal(...row),
      delta: normal(...row),
      B: normal(...rows),
      C: normal(...rows),
      z: normal(...row),
      ...rates,
    };
    const sizes = { batch, seqLen, dInner, dState };
    const size = `[${row}] x ${dState}`;
    const initialState = normal(batch, dInner, dState);
    const going = { ...sizes, initialState: true };
    add('selectiveScan', size, (g) => ops.selectiveScan(g, sizes), args);
    add(
      'selectiveScan',
      `${size}, going on`,
      (g) => ops.selectiveScan(g, going),
      { ...args, initialState },
      { untraceable: 'the wrapper copies the state' },
    );
    add('selectiveScanBackward', size, (g) => ops.selectiveScanBackward(g, sizes), {
      ...args,
      dy: normal(...row),
    });
    const [u, B] = [normal(batch, dInner), normal(batch, dState)];
    add(
      'selectiveScanStep',
      size,
      (g) => ops.selectiveScanStep(g, sizes),
      {
        state: initialState,
        u,
        delta: normal(batch, dInner),
        z: normal(batch, dInner),
        B,
        C: normal(batch, dState),
        ...rates,
      },
      { updated: [initialState] },
    );
  }

  for (const [batch, seqLen, nHeads, headDim, valueDim = headDim] of [
    [1, 64, 2, 16],
    [2, 45, 1, 12],
    [1, 7, 2, 5],
    [2, 37, 2, 6, 21],
    [1, 40, 1, 18, 3],
  ]) {
    const row = [batch, seqLen, nHeads, headDim];
    const valueRow = [batch, seqLen, nHeads, valueDim];
    const widths = valueDim === headDim ? { headDim } : { headDim, valueDim };
    for (const forget of ['none', 'retention', 'token', 'channel'] as const) {
      for (const featureMap of ['identity', 'relu', 'elu1'] as const) {
        for (const normalize of forget === 'none' ? [false, true] : [false]) {
          const forgets = (...leading: number[]): Args =>
            forget === 'retention'
              ? { decay: negative(nHeads) }
              : forget === 'token'
                ? { decay: negative(...leading, nHeads) }
                : forget === 'channel'
                  ? { gate: negative(...leading, nHeads, headDim) }
                  : {};
          const options = { featureMap, normalize };
          const sizes = { batch, seqLen, nHeads, ...widths, forget, ...options };
          const of = valueDim === headDim ? '' : `, ${valueDim}`;
          const size = `[${row}${of}] ${forget} ${featureMap}${normalize ? ' normalised' : ''}`;
          const args = {
            q: normal(...row),
            k: normal(...row),
            v: normal(...valueRow),
            ...forgets(batch, seqLen),
            ...options,
          };
          add('linearAttention', size, (g) => ops.linearAttention(g, sizes), args);
          add('linearAttentionBackward', size, (g) => ops.linearAttentionBackward(g, sizes), {
            ...args,
            do: normal(...valueRow),
          });
          const state = normal(batch, nHeads, headDim, valueDim);
          const head = [batch, nHeads, headDim];
          const normalizer = normalize ? { normalizer: normal(...head) } : {};
          const step = {
            state,
            ...normalizer,
            q: normal(...head),
            k: normal(...head),
            v: normal(batch, nHeads, valueDim),
            ...forgets(batch),
            ...options,
          };
          add('linearAttentionStep', size, (g) => ops.linearAttentionStep(g, sizes), step, {
            updated: [state, ...Object.values(normalizer)],
          });
        }
      }
    }
  }

  // Wide heads: by chunks.
  for (const [batch, seqLen, nHeads, headDim, valueDim, forget, normalize] of [
    [1, 64, 2, 48, 48, 'token', false],
    [2, 45, 1, 50, 50, 'retention', false],
    [1, 8, 1, 64, 64, 'token', true],
    [1, 33, 1, 256, 256, 'none', true],
    [2, 47, 1, 33, 70, 'token', true],
    [1, 41, 2, 81, 35, 'retention', false],
    [1, 33, 1, 7, 9400, 'none', true],
    [1, 9, 1, 2, 9400, 'token', false], // by steps
  ] as const) {
    const row = [batch, seqLen, nHeads, headDim];
    const valueRow = [batch, seqLen, nHeads, valueDim];
    const decay =
      forget === 'none'
        ? {}
        : { decay: forget === 'token' ? negative(...row.slice(0, 3)) : negative(nHeads) };
    const options = { featureMap: 'elu1', normalize } as const;
    const sizes = { batch, seqLen, nHeads, headDim, valueDim, forget, ...options };
    const size = `[${row}, ${valueDim}] ${forget}`;
    const args = { q: normal(...row), k: normal(...row), v: normal(...valueRow), ...decay, ...options };
    add('linearAttention', size, (g) => ops.linearAttention(g, sizes), args);
    const initialState = normal(batch, nHeads, headDim, valueDim);
    const going = { ...sizes, initialState: true };
    const more = { untraceable: 'the normaliser starts from nothing' };
    add(
      'linearAttention',
      `${size}, going on`,
      (g) => ops.linearAttention(g, going),
      { ...args, initialState },
      more,
    );
  }

  for (const [batch, seqLen, nHeads, headDim, valueDim = headDim] of [
    [1, 64, 2, 16],
    [2, 45, 1, 12],
    [1, 7, 2, 5],
    [1, 1, 1, 8],
    [1, 70, 2, 12, 5],
    [2, 9, 1, 5, 18],
  ]) {
    const row = [batch, seqLen, nHeads, headDim];
    const values = [batch, seqLen, nHeads, valueDim];
    const size = valueDim === headDim ? `[${row}]` : `[${row}], ${valueDim}`;
    for (const gated of [false, true]) {
      const op = gated ? 'gatedDeltaRule' : 'deltaRule';
      const sizes = { batch, seqLen, nHeads, headDim, valueDim, gated };
      const numbers = (...shape: number[]): Args => ({
        beta: normal(...shape),
        ...(gated && { decay: negative(...shape) }),
      });
      const args = {
        q: normal(...row),
        k: normal(...row),
        v: normal(...values),
        ...numbers(batch, seqLen, nHeads),
        l2Normalize: true,
      };
      add(op, size, (g) => ops.deltaRule(g, sizes), args);
      add(`${op}Backward`, size, (g) => ops.deltaRuleBackward(g, sizes), {
        ...args,
        do: normal(...values),
      });
      const state = normal(batch, nHeads, headDim, valueDim);
      const head = [batch, nHeads, headDim];
      const step = {
        state,
        q: normal(...head),
        k: normal(...head),
        v: normal(batch, nHeads, valueDim),
        ...numbers(batch, nHeads),
        l2Normalize: true,
      };
      add(`${op}Step`, size, (g) => ops.deltaRuleStep(g, sizes), step, { updated: [state] });
    }
  }

  const strided = { pattern: 'strided', stride: 16 } as const;
  const fixed = { pattern: 'fixed', stride: 16, summary: 2 } as const;
  for (const [batch, seqLen, nHeads, nKvHeads, headDim, valueDim, options] of [
    [1, 64, 2, 2, 16, 16, {}],
    [2, 45, 2, 1, 12, 12, {}],
    [1, 200, 2, 2, 16, 16, {}],
    [1, 200, 2, 1, 16, 16, { window: 32 }],
    [1, 4, 2, 2, 16, 16, {}],
    [1, 100, 1, 1, 16, 16, { sparse: strided }],
    [1, 100, 1, 1, 16, 16, { sparse: fixed }],
    [2, 77, 2, 1, 6, 21, {}],
    [1, 150, 2, 2, 19, 3, { window: 32 }],
    [1, 4, 2, 1, 13, 38, {}],
    [1, 100, 1, 1, 14, 25, { sparse: strided }],
    [1, 100, 1, 1, 26, 17, { sparse: fixed }],
    // Gradients in parts: of one head, of heads that share keys, and where parts see other keys.
    [1, 300, 1, 1, 64, 64, {}],
    [1, 260, 4, 2, 30, 33, {}],
    [1, 450, 1, 1, 64, 60, { window: 128 }],
  ] as const) {
    for (const alibi of [false, true]) {
      const slopes: Args = alibi ? { alibiSlopes: k.alibiSlopes({ nHeads }) } : {};
      const row = [batch, seqLen, nHeads, headDim];
      const widths = valueDim === headDim ? { headDim } : { headDim, valueDim };
      const sizes = { batch, seqLen, nHeads, nKvHeads, ...widths, alibi, ...options };
      const of = valueDim === headDim ? '' : `, ${valueDim}`;
      const size = `[${row}${of}] over ${nKvHeads} heads${alibi ? ', ALiBi' : ''} ${JSON.stringify(options)}`;
      const args = {
        q: normal(...row),
        k: normal(batch, seqLen, nKvHeads, headDim),
        v: normal(batch, seqLen, nKvHeads, valueDim),
        causal: true,
        ...slopes,
        ...options,
      };
      const more = { ...(alibi && { untraceable: 'slopes are constants' }) };
      add('softmaxAttention', size, (g) => ops.softmaxAttention(g, sizes), args, { atMost: true, ...more });
      const { o, logSumExp } = k.softmaxAttention(args as Parameters<Kernels['softmaxAttention']>[0]);
      add(
        'softmaxAttentionBackward',
        size,
        (g) => ops.softmaxAttentionBackward(g, sizes),
        { ...args, o, logSumExp, do: normal(batch, seqLen, nHeads, valueDim) },
        more,
      );
      add(
        'softmaxAttentionStep',
        size,
        (g) => ops.softmaxAttentionStep(g, sizes, seqLen),
        {
          q: normal(batch, nHeads, headDim),
          k: normal(batch, nKvHeads, headDim),
          v: normal(batch, nKvHeads, valueDim),
          kCache: normal(batch, Math.max(256, seqLen + 1), nKvHeads, headDim),
          vCache: normal(batch, Math.max(256, seqLen + 1), nKvHeads, valueDim),
          length: seqLen,
          ...slopes,
          ...options,
        },
        { untraceable: 'the wrapper writes the cache' },
      );
    }
  }

  for (const [batch, seqLen, nHeads, headDim, nGroups, dState] of [
    [1, 80, 2, 16, 1, 16],
    [2, 45, 4, 12, 2, 8],
    [1, 100, 2, 8, 1, 6],
    [1, 3, 2, 8, 1, 8],
    [1, 130, 2, 64, 1, 128],
  ]) {
    const row = [batch, seqLen, nHeads, headDim];
    const rows = [batch, seqLen, nGroups, dState];
    const rates = { A: negative(nHeads), D: normal(nHeads), dtBias: normal(nHeads), dtSoftplus: true };
    const args = {
      x: normal(...row),
      dt: normal(batch, seqLen, nHeads),
      B: normal(...rows),
      C: normal(...rows),
      ...rates,
    };
    const sizes = { batch, seqLen, nHeads, headDim, nGroups, dState };
    const size = `[${row}] x ${dState}, ${nGroups} groups`;
    const initialState = normal(batch, nHeads, headDim, dState);
    const going = { ...sizes, initialState: true };
    add('ssd', size, (g) => ops.ssd(g, sizes), args);
    add(
      'ssd',
      `${size}, going on`,
      (g) => ops.ssd(g, going),
      { ...args, initialState },
      { ...(seqLen < 5 && { untraceable: 'the wrapper copies the state' }) },
    );
    add('ssdBackward', size, (g) => ops.ssdBackward(g, sizes), { ...args, dy: normal(...row) });
    const group = [batch, nGroups, dState];
    add(
      'ssdStep',
      size,
      (g) => ops.ssdStep(g, sizes),
      {
        state: initialState,
        x: normal(batch, nHeads, headDim),
        dt: normal(batch, nHeads),
        B: normal(...group),
        C: normal(...group),
        ...rates,
      },
      { updated: [initialState] },
    );
  }

  for (const [batch, seqLen, nHeads, headDim, nRanks, nGroups, dState, nAngles, own] of [
    [1, 80, 2, 16, 1, 1, 16, 4, 0],
    [2, 45, 4, 12, 1, 2, 9, 3, 1],
    [1, 3, 2, 8, 1, 1, 8, 4, 0],
    [1, 70, 4, 64, 1, 1, 128, 32, 0],
    [2, 23, 6, 10, 3, 2, 12, 5, 0],
    [1, 30, 2, 16, 4, 1, 16, 4, 1],
  ]) {
    const half = nRanks > 1;
    const options = { dtSoftplus: true, aFloor: 1e-4, ...(half && { convention: 'half' }) };
    const parameters = {
      BBias: normal(nHeads, nRanks, dState),
      CBias: normal(nHeads, nRanks, dState),
      D: normal(nHeads),
      dtBias: normal(nHeads),
      ...(half && { mimoX: normal(nHeads, nRanks, headDim) }),
    };
    const inputs = (...tokens: number[]) => ({
      x: normal(...tokens, nHeads, headDim),
      dt: normal(...tokens, nHeads),
      A: normal(...tokens, nHeads),
      trap: normal(...tokens, nHeads),
      B: normal(...tokens, nRanks, nGroups, dState),
      C: normal(...tokens, nRanks, nGroups, dState),
      angles: normal(...tokens, own ? nHeads : 1, nAngles),
      ...parameters,
      ...options,
    });
    const sizes = {
      batch,
      seqLen,
      nHeads,
      headDim,
      nGroups,
      nRanks,
      dState,
      nAngles,
      ownAngles: own === 1,
      mimo: half,
    };
    const size = `[${[batch, seqLen, nHeads, headDim]}] x ${dState}, ${nRanks} ranks, ${nGroups} groups`;
    const args = inputs(batch, seqLen);
    const carried = {
      angle: normal(batch, nHeads, nAngles),
      state: normal(batch, nHeads, headDim, dState),
      lastB: normal(batch, nRanks, nHeads, dState),
      lastX: normal(batch, nHeads, headDim),
    };
    const { angle, state, lastB, lastX } = carried;
    const initial = { initialAngle: angle, initialState: state, initialB: lastB, initialX: lastX };
    add('mamba3', size, (g) => ops.mamba3(g, sizes), args);
    add('mamba3', `${size}, going on`, (g) => ops.mamba3(g, { ...sizes, initialState: true }), {
      ...args,
      ...initial,
    });
    add('mamba3Backward', size, (g) => ops.mamba3Backward(g, sizes), {
      ...args,
      dy: normal(batch, seqLen, nHeads, nRanks, headDim),
    });
    add(
      'mamba3Step',
      size,
      (g) => ops.mamba3Step(g, sizes),
      { ...inputs(batch), ...carried },
      { updated: [angle, state, lastB, lastX] },
    );
    for (const norm of [false, true]) {
      const gate = { rows: batch * seqLen, nHeads, nRanks, headDim, norm, mimo: half };
      const given = {
        x: normal(batch, seqLen, nHeads, nRanks, headDim),
        z: normal(batch, seqLen, nHeads, headDim),
        ...(norm && { weight: normal(nHeads * headDim) }),
        ...(half && { mimoZ: normal(nHeads, nRanks, headDim), mimoO: normal(nHeads, nRanks, headDim) }),
      };
      const which = `${size}${norm ? ', with norm' : ''}`;
      add('mamba3Gate', which, (g) => ops.mamba3Gate(g, gate), given);
      add('mamba3GateBackward', which, (g) => ops.mamba3GateBackward(g, gate), {
        ...given,
        dy: normal(batch, seqLen, nHeads, headDim),
      });
    }
  }
  return calls;
}
