/**
 * A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, a last norm, a head.
 *
 *   x[0] = embedding(tokens)
 *   x[i+1] = h + mlp(norm2(h)),  h = x[i] + mixer(norm(x[i])); without an MLP h, without a mixer h = x[i]
 *   logits = head(norm_f(x[nLayers]))
 */
import { createTape, type Tape } from '@freelunch/autograd';
import {
  checkComputable,
  type ModelConfig,
  resolveConfig,
  type ResolvedConfig,
  type ResolvedMixer,
} from '@freelunch/config';
import { ArgumentError, DisposedError, type Kernels, ShapeError, Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { deltaRule } from './mixers/delta-rule.js';
import { type GenerateOptions, generateRow, generateRows } from './generate.js';
import { linearAttention } from './mixers/linear-attention.js';
import { mamba } from './mixers/mamba.js';
import { mamba2 } from './mixers/mamba2.js';
import type { Mixer, MixerState } from './mixers/mixer.js';
import { createMlp, type Mlp } from './mixers/mlp.js';
import { type Names, namesOf } from './checkpoints/names.js';
import {
  createParameters,
  type FloatTensor,
  normal,
  ones,
  ParameterList,
  type ParameterSpec,
  Scope,
  zeros,
} from './mixers/parameters.js';
import { softmaxAttention } from './mixers/softmax-attention.js';

/** Token ids: int32 `[batch, seqLen]`, one row of them, or rows of one length. */
export type Tokens = Tensor | Int32Array | readonly number[] | readonly (readonly number[])[];

/** What a model keeps between steps, for a batch of sequences. */
export interface ModelState extends Disposable {
  readonly batch: number;
  /** Tokens seen so far. */
  readonly position: number;
  readonly layers: readonly MixerState[];
  /** Bytes that its tensors hold now. */
  readonly bytes: number;
  /** Whether it was freed, or any tensor of it. */
  readonly disposed: boolean;
  dispose(): void;
}

export interface ForwardOptions {
  /** Records what is computed, to go back over it; nothing is recorded if absent. */
  tape?: Tape;
  /** Goes on from here, and leaves here what the next call needs. Not together with a recording tape. */
  state?: ModelState;
  /** Logits of the last position only, `[batch, 1, vocabSize]`: what generation needs of a prompt. */
  lastOnly?: boolean;
  /** Recompute each block's inside in the backward pass instead of keeping it. */
  checkpoint?: boolean;
  /** Shown the residual stream before each block (`hidden.0` ...), after the last (`hidden.nLayers`) and `final_norm`. */
  observe?: (name: string, value: FloatTensor) => void;
}

export interface LossOptions extends Pick<ForwardOptions, 'tape' | 'checkpoint'> {
  /** Ids that each position should predict, shaped like the tokens, -100 where not scored; the next token if absent. */
  targets?: Tokens;
  /** Whether each position's prediction is scored, shaped like the tokens; all but the last if absent. */
  mask?: Tokens | Uint8Array;
}

interface Block {
  prefix: string;
  mixer: Mixer | undefined;
  mlp: Mlp | undefined;
}

function createMixer(mixer: ResolvedMixer, config: ResolvedConfig, branches: number): Mixer | undefined {
  const { dModel, position, norm, naming } = config;
  switch (mixer.type) {
    case 'mamba':
      return mamba(mixer, dModel, branches);
    case 'mamba2':
      return mamba2(mixer, dModel, branches, norm.eps);
    case 'linear-attention':
      return linearAttention(mixer, dModel, branches);
    case 'delta-rule':
      return deltaRule(mixer, dModel, branches);
    case 'softmax-attention':
      return softmaxAttention(mixer, dModel, branches, position, naming === 'gpt2');
    case 'none':
      return undefined;
  }
}

/** What a config consists of, without any weights: blocks and the list of parameters. */
export function describeModel(config: ResolvedConfig): {
  names: Names;
  blocks: Block[];
  specs: readonly ParameterSpec[];
} {
  const { vocabSize, dModel, mixers, mlps, norm, position, tieEmbeddings } = config;
  const names = namesOf(config);
  const list = new ParameterList();
  const declareNorm = (prefix: string) => {
    if (norm.type === 'none') return;
    list.other(`${prefix}weight`, [dModel], ones);
    if (norm.type === 'layer') list.other(`${prefix}bias`, [dModel], zeros);
  };
  list.weight(names.embedding, [vocabSize, dModel], normal(0.02));
  if (position.type === 'learned') list.weight(names.positions, [position.maxLength, dModel], normal(0.02));
  const branches = [...mixers, ...mlps].filter(({ type }) => type !== 'none').length;
  const blocks = mixers.map((mixerConfig, layer): Block => {
    const prefix = names.block(layer);
    const block = {
      prefix,
      mixer: createMixer(mixerConfig, config, branches),
      mlp: createMlp(mlps[layer], dModel, branches, config.naming === 'gpt2'),
    };
    if (block.mixer !== undefined) {
      declareNorm(prefix + names.mixerNorm);
      block.mixer.declare(list, prefix + names.mixer);
    }
    if (block.mlp !== undefined) {
      declareNorm(prefix + names.mlpNorm);
      block.mlp.declare(list, `${prefix}mlp.`);
    }
    return block;
  });
  declareNorm(names.finalNorm);
  if (!tieEmbeddings) list.weight(names.head, [vocabSize, dModel], normal(0.02));
  return { names, blocks, specs: list.specs };
}

/** A model with weights in WASM memory. Make one with {@link createModel} or `loadPretrained`. */
export class LanguageModel implements Disposable {
  readonly k: Kernels;
  readonly config: ResolvedConfig;
  readonly specs: readonly ParameterSpec[];
  readonly #names: Names;
  readonly #blocks: readonly Block[];
  readonly #parameters: ReadonlyMap<string, FloatTensor>;

  /** @internal */
  constructor(k: Kernels, config: ResolvedConfig, parameters?: ReadonlyMap<string, FloatTensor>) {
    const { names, blocks, specs } = describeModel(config);
    this.k = k;
    this.config = config;
    this.specs = specs;
    this.#names = names;
    this.#blocks = blocks;
    this.#parameters = parameters ?? createParameters(k, specs, random(config.seed).split('weights'));
  }

  /** The weights by the names of published checkpoints. Tied weights stand there once, as the embedding. */
  parameters(): Map<string, FloatTensor> {
    return new Map(this.#parameters);
  }

  /** Number of weights. */
  get parameterCount(): number {
    return this.specs.reduce(
      (total, { shape }) => total + shape.reduce((size, extent) => size * extent, 1),
      0,
    );
  }

  /** Bytes that the state of one sequence holds after `seqLen` tokens: constant for recurrent mixers, growing for attention. */
  stateBytes(seqLen: number): number {
    if (!Number.isSafeInteger(seqLen) || seqLen < 0)
      throw new ArgumentError(`stateBytes: seqLen must be a whole number from 0 up, got ${seqLen}`);
    return this.#blocks.reduce((total, { mixer }) => total + (mixer?.stateBytes(seqLen) ?? 0), 0);
  }

  /** The state before the first token. @param batch number of sequences, from 1 up */
  initialState(batch = 1): ModelState {
    if (!Number.isSafeInteger(batch) || batch < 1)
      throw new ArgumentError(`initialState: batch must be a whole number from 1 up, got ${batch}`);
    const layers = this.#blocks.map(
      ({ mixer }): MixerState => mixer?.initialState(this.k, batch) ?? { tensors: {}, position: 0 },
    );
    return new LayerStates(batch, layers);
  }

  /**
   * Logits of the next token at every position.
   *
   * @param tokens ids from 0 to vocabSize - 1, `[batch, seqLen]` or one row
   * @returns `[batch, seqLen, vocabSize]`; without a recording tape all else is freed
   * @throws ShapeError, ArgumentError naming the first id that is out of range
   */
  forward(tokens: Tokens, options: ForwardOptions = {}): FloatTensor {
    const { tape, state, checkpoint = false, lastOnly = false, observe } = options;
    const { k } = this;
    const run = (t: Tape): FloatTensor => {
      const ids = this.#ids('forward', tokens);
      const [batch, seqLen] = ids.shape;
      this.#checkState('forward', state, batch);
      let x = this.#embed(t, ids, state?.position ?? 0);
      this.#blocks.forEach((block, layer) => {
        observe?.(`hidden.${layer}`, x);
        const mixerState = state?.layers[layer];
        const input = x;
        const inside = (tp: Tape) => this.#block(tp, block, input, mixerState);
        x =
          checkpoint && mixerState === undefined
            ? t.checkpoint(inside, [input, ...this.#ofBlock(block)])
            : inside(t);
        if (mixerState !== undefined) mixerState.position += seqLen;
      });
      observe?.(`hidden.${this.#blocks.length}`, x);
      if (lastOnly) x = lastRows(t, x);
      x = this.#norm(t, this.#names.finalNorm, x);
      observe?.('final_norm', x);
      return this.#head(t, x);
    };
    if (tape !== undefined) {
      if (state !== undefined) throw new ArgumentError('forward: state must be absent where a tape is given');
      return run(tape);
    }
    return k.scope(() => run(createTape(k)));
  }

  /**
   * Mean cross-entropy of the scored positions, `[1]`.
   *
   * @throws ShapeError if targets or mask are not shaped like the tokens
   */
  loss(tokens: Tokens, options: LossOptions = {}): FloatTensor {
    const { k } = this;
    const { tape } = options;
    const run = (t: Tape): FloatTensor => {
      const ids = this.#ids('loss', tokens);
      const logits = this.forward(ids, { tape: t, checkpoint: options.checkpoint });
      return t.crossEntropy({ logits, ...this.#scored(ids, options) }).loss;
    };
    return tape !== undefined ? run(tape) : k.scope(() => run(createTape(k)));
  }

  /**
   * One token of each sequence: what `forward` computes at its last position, at the cost of one step.
   *
   * @param token one id a sequence
   * @param state updated in place
   * @returns logits `[batch, vocabSize]`
   */
  step(token: number | readonly number[] | Int32Array | Tensor, state: ModelState): FloatTensor {
    const { k } = this;
    return k.scope(() => {
      const flat = typeof token === 'number' ? [token] : token instanceof Tensor ? token.toArray() : token;
      const ids = this.#ids(
        'step',
        Array.from(flat, (id) => [id]),
      );
      const batch = ids.shape[0];
      this.#checkState('step', state, batch);
      const t = createTape(k);
      let x = this.#embed(t, ids, state.position).reshape([batch, this.config.dModel]);
      this.#blocks.forEach(({ prefix, mixer, mlp }, layer) => {
        const { mixerNorm, mlpNorm, mixer: mixerPrefix } = this.#names;
        const mixerState = state.layers[layer];
        if (mixer !== undefined) {
          const scope = this.#scope(prefix + mixerPrefix);
          x = k.add({
            a: x,
            b: mixer.step(k, scope, this.#norm(t, prefix + mixerNorm, x), mixerState),
          });
        }
        mixerState.position++;
        if (mlp !== undefined)
          x = k.add({
            a: x,
            b: mlp.forward(t, this.#scope(`${prefix}mlp.`), this.#norm(t, prefix + mlpNorm, x)),
          });
      });
      return this.#head(t, this.#norm(t, this.#names.finalNorm, x));
    });
  }

  /**
   * Tokens that go on after a prompt; of several rows of one length, one of each at a time, undefined once a row has
   * ended. The likeliest tokens, unless `temperature`, `topK` or `topP` say otherwise.
   *
   *   for await (const token of model.generate([1, 2, 3], { maxTokens: 20, temperature: 0.8, topP: 0.9, seed: 1 }))
   *
   * @throws ArgumentError, ShapeError naming the option or token; the signal's reason once it is aborted
   */
  generate(
    prompt: readonly number[] | Int32Array,
    options?: GenerateOptions,
  ): AsyncGenerator<number, void, undefined>;
  generate(
    prompt: readonly (readonly number[] | Int32Array)[],
    options?: GenerateOptions,
  ): AsyncGenerator<(number | undefined)[], void, undefined>;
  generate(
    prompt: readonly number[] | Int32Array | readonly (readonly number[] | Int32Array)[],
    options?: GenerateOptions,
  ): AsyncGenerator<number | (number | undefined)[], void, undefined> {
    const several = prompt.length > 0 && typeof prompt[0] === 'object';
    if (several) return generateRows(this, prompt as readonly (readonly number[])[], options);
    return generateRow(generateRows(this, [prompt as readonly number[]], options));
  }

  /** Frees the weights. */
  dispose(): void {
    for (const tensor of this.#parameters.values()) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #scope(prefix: string): Scope {
    return new Scope(this.#parameters, prefix);
  }

  #ofBlock({ prefix }: Block): FloatTensor[] {
    return [...this.#parameters].filter(([name]) => name.startsWith(prefix)).map(([, tensor]) => tensor);
  }

  #norm(t: Tape, prefix: string, x: FloatTensor): FloatTensor {
    const { type, eps } = this.config.norm;
    if (type === 'none') return x;
    const weight = this.#scope(prefix).get('weight');
    return type === 'rms'
      ? t.rmsNorm({ x, weight, eps })
      : t.layerNorm({ x, weight, bias: this.#scope(prefix).get('bias'), eps });
  }

  #block(t: Tape, { prefix, mixer, mlp }: Block, x: FloatTensor, state?: MixerState): FloatTensor {
    const { mixerNorm, mlpNorm, mixer: mixerPrefix } = this.#names;
    let h = x;
    if (mixer !== undefined) {
      const scope = this.#scope(prefix + mixerPrefix);
      h = t.add({ a: x, b: mixer.forward(t, scope, this.#norm(t, prefix + mixerNorm, x), state) });
    }
    if (mlp === undefined) return h;
    return t.add({
      a: h,
      b: mlp.forward(t, this.#scope(`${prefix}mlp.`), this.#norm(t, prefix + mlpNorm, h)),
    });
  }

  #embed(t: Tape, ids: Tensor, position: number): FloatTensor {
    const x = t.embedding({ ids, weight: this.#scope('').get(this.#names.embedding) });
    if (this.config.position.type !== 'learned') return x;
    const [batch, seqLen] = ids.shape;
    const { maxLength } = this.config.position;
    if (position + seqLen > maxLength) {
      throw new ArgumentError(
        `forward: tokens must end within the ${maxLength} learned positions, got ${position + seqLen}`,
      );
    }
    const positions = this.k.tensor(
      Int32Array.from({ length: batch * seqLen }, (_, i) => position + (i % seqLen)),
      [batch, seqLen],
    );
    return t.add({
      a: x,
      b: t.embedding({ ids: positions, weight: this.#scope('').get(this.#names.positions) }),
    });
  }

  #head(t: Tape, x: FloatTensor): FloatTensor {
    const { embedding, head } = this.#names;
    return t.matmul({
      a: x,
      b: this.#scope('').get(this.config.tieEmbeddings ? embedding : head),
      transposeB: true,
    });
  }

  #ids(where: string, tokens: Tokens): Tensor {
    if (tokens instanceof Tensor) {
      if (tokens.shape.length !== 2)
        throw new ShapeError(`${where}: tokens must be [batch, seqLen], got [${tokens.shape.join(', ')}]`);
      return tokens;
    }
    const rows = (
      tokens.length > 0 && typeof tokens[0] === 'number' ? [tokens] : tokens
    ) as readonly ArrayLike<number>[];
    const seqLen = rows[0]?.length ?? 0;
    if (seqLen === 0) throw new ShapeError(`${where}: tokens must be at least one, got none`);
    const other = rows.findIndex((row) => row.length !== seqLen);
    if (other > 0)
      throw new ShapeError(
        `${where}: tokens must be rows of one length, got ${seqLen} and ${rows[other].length}`,
      );
    return this.k.tensor(
      rows.flatMap((row) => Array.from(row)),
      [rows.length, seqLen],
      'int32',
    );
  }

  #scored(ids: Tensor, { targets, mask }: LossOptions): { targets: Tensor; mask?: Tensor } {
    const { k } = this;
    const [batch, seqLen] = ids.shape;
    const shaped = (name: string, given: Tokens | Uint8Array): Tensor => {
      const rows = given instanceof Uint8Array ? Int32Array.from(given) : given;
      const flat = !(rows instanceof Tensor) && typeof rows[0] === 'number' && rows.length === batch * seqLen;
      const tensor = flat
        ? k.tensor(Int32Array.from(rows as ArrayLike<number>), [batch, seqLen])
        : this.#ids(name, rows);
      if (tensor.shape[0] !== batch || tensor.shape[1] !== seqLen) {
        throw new ShapeError(
          `loss: ${name} must be shaped like tokens, [${batch}, ${seqLen}], got [${tensor.shape.join(', ')}]`,
        );
      }
      return tensor;
    };
    const scored = mask === undefined ? undefined : shaped('mask', mask);
    if (targets !== undefined) return { targets: shaped('targets', targets), mask: scored };
    const data = ids.data;
    const next = Int32Array.from({ length: data.length }, (_, i) =>
      (i + 1) % seqLen === 0 ? -100 : data[i + 1],
    );
    return { targets: k.tensor(next, [batch, seqLen]), mask: scored };
  }

  #checkState(where: string, state: ModelState | undefined, batch: number): void {
    if (state === undefined) return;
    if (state.layers.length !== this.#blocks.length)
      throw new ArgumentError(`${where}: state must be one of this model`);
    if (state.batch !== batch)
      throw new ShapeError(
        `${where}: tokens must be ${state.batch} sequences as the state has, got ${batch}`,
      );
    if (state.disposed) throw new DisposedError(`${where}: state was disposed of`);
  }
}

/** The last position of each sequence, `[batch, 1, dModel]`. */
function lastRows(t: Tape, x: FloatTensor): FloatTensor {
  const [batch, seqLen, dModel] = x.shape;
  const ids = t.k.tensor(
    Int32Array.from({ length: batch }, (_, b) => (b + 1) * seqLen - 1),
    [batch, 1],
  );
  return t.embedding({ ids, weight: t.reshape(x, [batch * seqLen, dModel]) });
}

class LayerStates implements ModelState {
  readonly batch: number;
  readonly layers: readonly MixerState[];
  #disposed = false;

  constructor(batch: number, layers: readonly MixerState[]) {
    this.batch = batch;
    this.layers = layers;
  }

  get position(): number {
    return this.layers[0].position; // all of them count, also where a layer keeps nothing
  }

  get disposed(): boolean {
    return (
      this.#disposed ||
      this.layers.some(({ tensors }) => Object.values(tensors).some((tensor) => tensor.disposed))
    );
  }

  get bytes(): number {
    return this.layers.reduce(
      (total, { tensors }) =>
        total + Object.values(tensors).reduce((sum, tensor) => sum + tensor.size * 4, 0),
      0,
    );
  }

  dispose(): void {
    this.#disposed = true;
    for (const { tensors } of this.layers) for (const tensor of Object.values(tensors)) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Assembles a language model from a config, with fresh weights.
 *
 *   const model = createModel(k, { vocabSize: 256, dModel: 64, nLayers: 2, mixer: { type: 'mamba' } });
 *
 * @throws ArgumentError naming the field of the config, what it must be and what it is; UnsupportedError naming what
 *   configs can say, for costs, and models cannot compute
 */
export function createModel(k: Kernels, config: ModelConfig): LanguageModel {
  const resolved = resolveConfig(config, 'createModel');
  checkComputable(resolved, 'createModel');
  return new LanguageModel(k, resolved);
}
