import { fitExponent } from '@freelunch/complexity';
import { type Kernels, loadKernels, type Tensor } from '@freelunch/kernels';
import { filled } from './benchmark.js';

/** How one mixer's time and memory grow with the length, for one head of width 64 or a scan of the same size. */
export interface Scaling {
  mixer: string;
  pass: 'forward' | 'step';
  /** The exponent that theory gives to the time. */
  expected: number;
  lengths: number[];
  /** Best of a few passes. */
  timesMs: number[];
  /** Most bytes in WASM memory during the call, beyond the inputs: outputs and scratch. */
  bytes: number[];
  /** Fitted to time = c * length^exponent over the upper half of the lengths, where fixed costs no longer show. */
  timeExponent: number;
  memoryExponent: number;
}

interface Mixer {
  mixer: string;
  pass: Scaling['pass'];
  expected: number;
  prepare(k: Kernels, seqLen: number): () => unknown;
}

const HEADS = 1;
const WIDTH = 64;
const INNER = 64;
const STATE = 16;

function attentionInputs(k: Kernels, seqLen: number): { q: Tensor; k: Tensor; v: Tensor } {
  const make = () => filled(k, [1, seqLen, HEADS, WIDTH]);
  return { q: make(), k: make(), v: make() };
}

const mixers: Mixer[] = [
  {
    mixer: 'selectiveScan',
    pass: 'forward',
    expected: 1,
    prepare: (k, seqLen) => {
      const u = filled(k, [1, seqLen, INNER]);
      const delta = filled(k, [1, seqLen, INNER], 0.001, 0.1);
      const A = filled(k, [INNER, STATE], -16, -1);
      const B = filled(k, [1, seqLen, STATE]);
      const C = filled(k, [1, seqLen, STATE]);
      return () => k.selectiveScan({ u, delta, A, B, C });
    },
  },
  {
    mixer: 'ssd',
    pass: 'forward',
    expected: 1,
    prepare: (k, seqLen) => {
      const x = filled(k, [1, seqLen, 1, WIDTH]);
      const dt = filled(k, [1, seqLen, 1], 0.001, 0.1);
      const A = filled(k, [1], -16, -1);
      const B = filled(k, [1, seqLen, 1, WIDTH]);
      const C = filled(k, [1, seqLen, 1, WIDTH]);
      return () => k.ssd({ x, dt, A, B, C });
    },
  },
  {
    mixer: 'linearAttention',
    pass: 'forward',
    expected: 1,
    prepare: (k, seqLen) => {
      const inputs = attentionInputs(k, seqLen);
      return () => k.linearAttention({ ...inputs, featureMap: 'elu1', normalize: true });
    },
  },
  {
    mixer: 'softmaxAttention window 128',
    pass: 'forward',
    expected: 1,
    prepare: (k, seqLen) => {
      const inputs = attentionInputs(k, seqLen);
      return () => k.softmaxAttention({ ...inputs, causal: true, window: 128 });
    },
  },
  {
    mixer: 'softmaxAttention',
    pass: 'forward',
    expected: 2,
    prepare: (k, seqLen) => {
      const inputs = attentionInputs(k, seqLen);
      return () => k.softmaxAttention({ ...inputs, causal: true });
    },
  },
  {
    mixer: 'selectiveScan',
    pass: 'step',
    expected: 0,
    prepare: (k, seqLen) => {
      const A = filled(k, [INNER, STATE], -16, -1);
      const row = {
        u: filled(k, [1, INNER]),
        delta: filled(k, [1, INNER], 0.001, 0.1),
        B: filled(k, [1, STATE]),
        C: filled(k, [1, STATE]),
      };
      // The state after seqLen steps: no larger than after one.
      const state = k.zeros([1, INNER, STATE]);
      for (let t = 0; t < seqLen; t++) k.selectiveScanStep({ state, A, ...row }).dispose();
      return () => k.selectiveScanStep({ state, A, ...row });
    },
  },
  {
    mixer: 'linearAttention',
    pass: 'step',
    expected: 0,
    prepare: (k, seqLen) => {
      const make = () => filled(k, [1, HEADS, WIDTH]);
      const row = { q: make(), k: make(), v: make() };
      const state = k.zeros([1, HEADS, WIDTH, WIDTH]);
      for (let t = 0; t < seqLen; t++) k.linearAttentionStep({ state, ...row }).dispose();
      return () => k.linearAttentionStep({ state, ...row });
    },
  },
  {
    mixer: 'softmaxAttention',
    pass: 'step',
    expected: 1,
    prepare: (k, seqLen) => {
      const keys = filled(k, [1, seqLen, HEADS, WIDTH]);
      const v = filled(k, [1, seqLen, HEADS, WIDTH]);
      const q = filled(k, [1, 1, HEADS, WIDTH]);
      return () => k.softmaxAttention({ q, k: keys, v, causal: true, queryOffset: seqLen - 1 });
    },
  },
];

function best(run: () => void): number {
  let bestMs = Infinity;
  let spentMs = 0;
  for (let pass = 0; pass < 3 || (pass < 2000 && spentMs < 60); pass++) {
    const start = performance.now();
    run();
    const elapsedMs = performance.now() - start;
    spentMs += elapsedMs;
    bestMs = Math.min(bestMs, elapsedMs);
    if (spentMs > 5000) break;
  }
  return bestMs;
}

/** Times every mixer over lengths 128, 256 .. `longest`, with the `simd` variant. */
export async function measureScaling(longest: number): Promise<Scaling[]> {
  const k = await loadKernels({ variant: 'simd' });
  const lengths: number[] = [];
  for (let seqLen = 128; seqLen <= longest; seqLen *= 2) lengths.push(seqLen);
  return mixers.map(({ mixer, pass, expected, prepare }) => {
    const timesMs: number[] = [];
    const bytes: number[] = [];
    for (const seqLen of lengths) {
      k.scope(() => {
        const run = prepare(k, seqLen);
        const once = () => void k.scope(() => void run());
        once();
        const inputBytes = k.memory.usedBytes;
        k.resetPeak();
        once();
        bytes.push(k.memory.peakBytes - inputBytes);
        timesMs.push(best(once));
      });
    }
    const upper = (values: number[]) => values.slice(Math.floor(values.length / 2));
    return {
      mixer,
      pass,
      expected,
      lengths,
      timesMs,
      bytes,
      timeExponent: fitExponent(upper(lengths), upper(timesMs)).exponent,
      memoryExponent: fitExponent(upper(lengths), upper(bytes)).exponent,
    };
  });
}

export function scalingTable(scaling: Scaling[]): string {
  const { lengths } = scaling[0];
  const shown = [lengths[0], lengths[lengths.length >> 1], lengths.at(-1)!];
  const head = [
    'time against length'.padEnd(36),
    ...shown.map((seqLen) => `L ${seqLen}`.padStart(11)),
    'exponent'.padStart(9),
    'theory'.padStart(7),
    'memory'.padStart(7),
  ];
  const rows = scaling.map((s) =>
    [
      `${s.mixer} ${s.pass}`.padEnd(36),
      ...shown.map((seqLen) => `${s.timesMs[lengths.indexOf(seqLen)].toFixed(4)} ms`.padStart(11)),
      s.timeExponent.toFixed(2).padStart(9),
      String(s.expected).padStart(7),
      s.memoryExponent.toFixed(2).padStart(7),
    ].join(' '),
  );
  return [head.join(' '), ...rows].join('\n');
}
