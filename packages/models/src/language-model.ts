/**
 * A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, a last norm, a head.
 *
 *   x[0] = embedding(tokens)
 *   x[i+1] = h + mlp(norm2(h)),  h = x[i] + mixer(norm(x[i])); without an MLP h, without a mixer h = x[i]
 *   logits = head(norm_f(x[nLayers]))
 */
import type { Tape } from '@freelunch/autograd';
import { checkComputable, type ModelConfig, resolveConfig, type ResolvedConfig } from '@freelunch/config';
import { ArgumentError, checkOptions, show, UnsupportedError } from '@freelunch/errors';
import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { architectureOf, type Block } from './architecture.js';
import { checkFlag, checkFunction, checkKernels } from './check.js';
import type { Names } from './checkpoints/names.js';
import { type GenerateOptions, generateRow, generateRows } from './generate.js';
import type { Mixer, MixerState } from './mixers/mixer.js';
import { freeing, isPlain, type Ops, plainOps } from './mixers/ops.js';
import {
  createParameters,
  type FloatTensor,
  type ParameterSpec,
  Scope,
  type Weight,
} from './mixers/parameters.js';
import { asLayerStates, LayerStates, type ModelState } from './state.js';
import { pieceLength } from './pieces.js';
import { StepPlan, type StepInputs } from './step-plan.js';
import {
  checkRange,
  columns,
  positionsOf,
  scoredTargets,
  stepIds,
  tokenIds,
  type Tokens,
} from './token-rows.js';

export interface ForwardOptions {
  /** Records what is computed, to go back over it; nothing is recorded if absent. */
  tape?: Tape;
  /** Goes on from here, and leaves here what the next call needs. Not together with a recording tape. */
  state?: ModelState;
  /**
   * Logits of the last position only, `[batch, 1, vocabSize]`: what generation needs of a prompt. A model without softmax
   * attention then reads a long prompt in pieces, in memory that does not grow with its length.
   */
  lastOnly?: boolean;
  /** Recompute each block's inside in the backward pass instead of keeping it. */
  checkpoint?: boolean;
  /**
   * Shown the residual stream before each block (`hidden.0` ...), after the last (`hidden.nLayers`) and `final_norm`, to
   * be read there and then: without a recording tape each is freed once the next is there.
   */
  observe?: (name: string, value: FloatTensor) => void;
}

export interface LossOptions extends Pick<ForwardOptions, 'tape' | 'checkpoint'> {
  /** Ids that each position should predict, shaped like the tokens, -100 where not scored; the next token if absent. */
  targets?: Tokens;
  /** Whether each position's prediction is scored, shaped like the tokens; all but the last if absent. */
  mask?: Tokens | Uint8Array;
}

/** A model with weights in WASM memory. Make one with {@link createModel} or `loadPretrained`. */
export class LanguageModel implements Disposable {
  readonly k: Kernels;
  readonly config: ResolvedConfig;
  readonly specs: readonly ParameterSpec[];
  readonly #names: Names;
  readonly #blocks: readonly Block[];
  readonly #weights: ReadonlyMap<string, Weight>;
  /** Positions in a piece of a long prompt. */
  readonly #pieceLength: number;

  /** @internal */
  constructor(k: Kernels, config: ResolvedConfig, weights?: ReadonlyMap<string, Weight>) {
    const { names, blocks, specs } = architectureOf(config);
    this.k = k;
    this.config = config;
    this.specs = specs;
    this.#names = names;
    this.#pieceLength = pieceLength(config);
    this.#blocks = blocks;
    this.#weights = weights ?? createParameters(k, specs, random(config.seed).split('weights'));
  }

  /**
   * The weights by the names of published checkpoints, to be read, written and trained. Tied weights stand there once, as
   * the embedding.
   *
   * @throws UnsupportedError if some are quantised, which are not trained; `weights` gives those too
   */
  parameters(): Map<string, FloatTensor> {
    const parameters = new Map<string, FloatTensor>();
    for (const [name, weight] of this.#weights) {
      if (weight instanceof QuantizedTensor)
        throw new UnsupportedError(
          `parameters: all weights must be float32 to be trained, got ${name} as ${weight.dtype}; ` +
            `load the model with dtype 'float32', or take its weights by model.weights()`,
        );
      parameters.set(name, weight);
    }
    return parameters;
  }

  /** All weights, quantised ones too, by the same names. A quantised matrix is `[out, in]`. */
  weights(): Map<string, Weight> {
    return new Map(this.#weights);
  }

  /** Bytes of all weights in memory. */
  get weightBytes(): number {
    let bytes = 0;
    for (const weight of this.#weights.values())
      bytes += weight instanceof QuantizedTensor ? weight.bytes : 4 * weight.size;
    return bytes;
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
      throw new ArgumentError(`stateBytes: seqLen must be a whole number from 0 up, got ${show(seqLen)}`);
    return this.#blocks.reduce((total, { mixer }) => total + (mixer?.stateBytes(seqLen) ?? 0), 0);
  }

  /** The state before the first token. @param batch number of sequences, from 1 up */
  initialState(batch = 1): ModelState {
    if (!Number.isSafeInteger(batch) || batch < 1)
      throw new ArgumentError(`initialState: batch must be a whole number from 1 up, got ${show(batch)}`);
    const { k } = this;
    const none: MixerState = { tensors: {}, position: 0 };
    // In a scope: where memory ends before all is made, nothing of it stays.
    const layers = k.scope(() =>
      this.#blocks.map(({ mixer }) => mixer?.initialState(k, batch) ?? { ...none }),
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
    checkOptions('forward', options, ['tape', 'state', 'lastOnly', 'checkpoint', 'observe']);
    const { tape, checkpoint = false, lastOnly = false, observe } = options;
    const { k } = this;
    checkFlag('forward', 'checkpoint', checkpoint);
    checkFlag('forward', 'lastOnly', lastOnly);
    checkFunction('forward', 'observe', observe);
    const state = options.state === undefined ? undefined : asLayerStates('forward', options.state);
    if (tape !== undefined && state !== undefined)
      throw new ArgumentError('forward: state must be absent where a tape is given');
    const run = (o: Ops): FloatTensor => {
      const ids = tokenIds(k, 'forward', tokens);
      checkRange('forward', 'tokens', ids, this.config.vocabSize);
      const [batch, seqLen] = ids.shape;
      state?.check('forward', this.#blocks.length, batch);
      this.#checkPositions('forward', state?.position ?? 0, seqLen);
      const inPieces =
        lastOnly && tape === undefined && observe === undefined && this.#pieceLength < Infinity;
      const last = inPieces
        ? this.#readInPieces(o, ids, state)
        : this.#layers(o, ids, state, checkpoint, observe);
      const normed = this.#norm(o, this.#names.finalNorm, lastOnly ? lastRows(o, last) : last);
      observe?.('final_norm', normed);
      return this.#head(o, normed);
    };
    return tape === undefined ? k.scope(() => run(plainOps(k))) : run(checkTape('forward', tape));
  }

  /**
   * Mean cross-entropy of the scored positions, `[1]`.
   *
   * @throws ShapeError if targets or mask are not shaped like the tokens
   */
  loss(tokens: Tokens, options: LossOptions = {}): FloatTensor {
    checkOptions('loss', options, ['tape', 'checkpoint', 'targets', 'mask']);
    const { k } = this;
    const { tape, checkpoint } = options;
    const run = (): FloatTensor => {
      const ids = tokenIds(k, 'loss', tokens);
      const logits = this.forward(ids, { tape, checkpoint });
      const o = tape ?? plainOps(k);
      return o.crossEntropy({ logits, ...scoredTargets(k, ids, options) }).loss;
    };
    if (tape === undefined) return k.scope(run);
    checkTape('loss', tape);
    return run();
  }

  /**
   * One token of each sequence: what `forward` computes at its last position, at the cost of one step. The first step
   * makes buffers for those that follow, which live as long as the state. Weights may change at any time.
   *
   * @param token one id per sequence
   * @param state updated in place
   * @returns logits `[batch, vocabSize]`
   */
  step(token: number | readonly number[] | Int32Array | Tensor, state: ModelState): FloatTensor {
    const states = asLayerStates('step', state);
    const ids = stepIds(token, this.config.vocabSize);
    states.check('step', this.#blocks.length, ids.length);
    this.#checkPositions('step', states.position, 1);
    for (let layer = 0; layer < this.#blocks.length; layer++)
      this.#blocks[layer].mixer?.makeRoom?.(this.k, states.layers[layer], 1);
    if (states.plan?.fits(this.#weights) !== true) {
      states.plan?.dispose();
      states.plan = new StepPlan(this.k, states, this.#weights, (now) => this.#step(states, now));
    }
    // Before anything moves: where there is no room for the logits, the state stays good.
    const logits = this.k.empty([states.batch, this.config.vocabSize]);
    try {
      states.advance(1, () => states.plan!.run(ids, logits));
    } catch (error) {
      logits.dispose();
      throw error;
    }
    return logits;
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
    const several = Array.isArray(prompt) && typeof prompt[0] === 'object' && prompt[0] !== null;
    if (several) return generateRows(this, prompt as readonly (readonly number[])[], options);
    return generateRow(generateRows(this, [prompt as readonly number[]], options));
  }

  /** Frees the weights. */
  dispose(): void {
    for (const weight of this.#weights.values()) weight.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The residual stream after the last layer. */
  #layers(
    o: Ops,
    ids: Tensor,
    state: LayerStates | undefined,
    checkpoint = false,
    observe?: ForwardOptions['observe'],
  ): FloatTensor {
    const learned = this.config.position.type === 'learned';
    let x = this.#embed(o, ids, learned ? positionsOf(this.k, ids, state?.position ?? 0) : undefined);
    const through = (): FloatTensor => {
      this.#blocks.forEach((block, layer) => {
        observe?.(`hidden.${layer}`, x);
        const mixerState = state?.layers[layer];
        const input = x;
        const inside = (inner: Ops) =>
          this.#block(inner, block, input, (mixer, p, normed) => mixer.forward(inner, p, normed, mixerState));
        x =
          checkpoint && mixerState === undefined
            ? o.checkpoint(inside, [input, ...this.#ofBlock(block)])
            : freeing(o, () => inside(o));
        if (isPlain(o) && x !== input) input.dispose();
      });
      observe?.(`hidden.${this.#blocks.length}`, x);
      return x;
    };
    return state === undefined ? through() : state.advance(ids.shape[1], through);
  }

  /** What a step calls: see `Mixer.step`. */
  #step({ layers }: LayerStates, { ids, positions, position, held }: StepInputs): FloatTensor {
    const o = plainOps(this.k);
    let x = this.#embed(o, ids, positions).reshape([ids.shape[0], this.config.dModel]);
    this.#blocks.forEach((block, layer) => {
      const input = x;
      x = freeing(o, () =>
        this.#block(o, block, input, (mixer, p, normed) =>
          mixer.step(o, p, normed, layers[layer], { position, held: held[layer] }),
        ),
      );
      if (x !== input) input.dispose();
    });
    return this.#head(o, this.#norm(o, this.#names.finalNorm, x));
  }

  /** As `#layers`, for the sake of the last position alone: memory does not grow with the length. */
  #readInPieces(o: Ops, ids: Tensor, given: LayerStates | undefined): FloatTensor {
    const { k } = this;
    const [batch, seqLen] = ids.shape;
    const piece = this.#pieceLength;
    if (seqLen < 1.5 * piece) return this.#layers(o, ids, given);
    const state = given ?? asLayerStates('forward', this.initialState(batch));
    return state.advance(0, () => {
      let start = 0;
      for (; seqLen - start >= 1.5 * piece; start += piece)
        k.scope(() => void this.#layers(o, columns(k, ids, start, start + piece), state));
      return this.#layers(o, columns(k, ids, start, seqLen), state);
    });
  }

  #scope(prefix: string): Scope {
    return new Scope(this.#weights, prefix);
  }

  #ofBlock({ prefix }: Block): FloatTensor[] {
    return [...this.parameters()].filter(([name]) => name.startsWith(prefix)).map(([, tensor]) => tensor);
  }

  #norm(o: Ops, prefix: string, x: FloatTensor): FloatTensor {
    const { type, eps } = this.config.norm;
    if (type === 'none') return x;
    const weight = this.#scope(prefix).get('weight');
    return type === 'rms'
      ? o.rmsNorm({ x, weight, eps })
      : o.layerNorm({ x, weight, bias: this.#scope(prefix).get('bias'), eps });
  }

  /** One layer; `mix` is its mixer, over a sequence or a step. */
  #block(
    o: Ops,
    { prefix, mixer, mlp }: Block,
    x: FloatTensor,
    mix: (mixer: Mixer, p: Scope, x: FloatTensor) => FloatTensor,
  ): FloatTensor {
    const { mixerNorm, mlpNorm, mixer: mixerPrefix } = this.#names;
    let h = x;
    if (mixer !== undefined) {
      const p = this.#scope(prefix + mixerPrefix);
      h = freeing(o, () => o.add({ a: x, b: mix(mixer, p, this.#norm(o, prefix + mixerNorm, x)) }));
    }
    if (mlp === undefined) return h;
    const p = this.#scope(`${prefix}mlp.`);
    return o.add({ a: h, b: mlp.forward(o, p, this.#norm(o, prefix + mlpNorm, h)) });
  }

  #checkPositions(where: string, position: number, seqLen: number): void {
    if (this.config.position.type !== 'learned') return;
    const { maxLength } = this.config.position;
    if (position + seqLen > maxLength) {
      throw new ArgumentError(
        `${where}: tokens must end within the ${maxLength} learned positions, got ${position + seqLen}`,
      );
    }
  }

  #embed(o: Ops, ids: Tensor, positions: Tensor | undefined): FloatTensor {
    const { embedding, positions: learned } = this.#names;
    const x = o.embedding({ ids, weight: this.#scope('').matrix(embedding) });
    if (positions === undefined || this.config.position.type !== 'learned') return x;
    return o.add({ a: x, b: o.embedding({ ids: positions, weight: this.#scope('').get(learned) }) });
  }

  #head(o: Ops, x: FloatTensor): FloatTensor {
    const { embedding, head } = this.#names;
    return o.matmul({
      a: x,
      b: this.#scope('').matrix(this.config.tieEmbeddings ? embedding : head),
      transposeB: true,
    });
  }
}

/** The last position of each sequence, `[batch, 1, dModel]`. */
function lastRows(o: Ops, x: FloatTensor): FloatTensor {
  const [batch, seqLen, dModel] = x.shape;
  const ids = o.k.tensor(
    Int32Array.from({ length: batch }, (_, b) => (b + 1) * seqLen - 1),
    [batch, 1],
  );
  return o.embedding({ ids, weight: o.reshape(x, [batch * seqLen, dModel]) });
}

function checkTape(where: string, tape: Tape): Tape {
  if (typeof tape?.backward !== 'function')
    throw new ArgumentError(`${where}: tape must be what createTape gives, got ${show(tape)}`);
  return tape;
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
  checkKernels('createModel', k);
  const resolved = resolveConfig(config, 'createModel');
  checkComputable(resolved, 'createModel');
  return new LanguageModel(k, resolved);
}
