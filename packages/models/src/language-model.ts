/// <reference lib="esnext.disposable" preserve="true" />
/** A language model, as its users see it: what it computes is in `network.ts`. */
import type { Tape } from '@freelunch/autograd';
import { checkComputable, type ModelConfig, resolveConfig, type ResolvedConfig } from '@freelunch/config';
import { ArgumentError, checkOptions, show, UnsupportedError } from '@freelunch/errors';
import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { architectureOf } from './architecture.js';
import { checkFlag, checkFunction, checkKernels } from './check.js';
import { type GenerateOptions, generateRow, generateRows } from './generate.js';
import { type Ops, plainOps } from './mixers/ops.js';
import { createParameters, type FloatTensor, type ParameterSpec, type Weight } from './mixers/parameters.js';
import { Network } from './network.js';
import { asLayerStates, LayerStates, type ModelState } from './state.js';
import { StepPlan } from './step-plan.js';
import { checkRange, scoredTargets, stepIds, tokenIds, type Tokens } from './token-rows.js';

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
  readonly #weights: ReadonlyMap<string, Weight>;
  readonly #network: Network;

  /** @internal */
  constructor(k: Kernels, config: ResolvedConfig, weights?: ReadonlyMap<string, Weight>) {
    const { blocks, specs } = architectureOf(config);
    this.k = k;
    this.config = config;
    this.specs = specs;
    this.#weights = weights ?? createParameters(k, specs, random(config.seed).split('weights'));
    this.#network = new Network(k, config, blocks, specs, this.#weights);
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
    return this.#network.blocks.reduce((total, { mixer }) => total + (mixer?.stateBytes(seqLen) ?? 0), 0);
  }

  /** The state before the first token. @param batch number of sequences, from 1 up */
  initialState(batch = 1): ModelState {
    if (!Number.isSafeInteger(batch) || batch < 1)
      throw new ArgumentError(`initialState: batch must be a whole number from 1 up, got ${show(batch)}`);
    return new LayerStates(batch, this.#network.initialState(batch));
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
      state?.check('forward', this.#network.blocks.length, batch);
      this.#checkPositions('forward', state?.position ?? 0, seqLen);
      return this.#network.logits(o, ids, { state, checkpoint, lastOnly, observe });
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
    states.check('step', this.#network.blocks.length, ids.length);
    this.#checkPositions('step', states.position, 1);
    for (let layer = 0; layer < this.#network.blocks.length; layer++)
      this.#network.blocks[layer].mixer?.makeRoom?.(this.k, states.layers[layer], 1);
    if (states.plan?.fits(this.#weights) !== true) {
      states.plan?.dispose();
      states.plan = new StepPlan(this.k, states, this.#weights, (now) =>
        this.#network.step(states.layers, now),
      );
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
   * Tokens that go on after a prompt; of several rows, which may differ in length, one of each at a time, undefined once a
   * row has ended. The likeliest tokens, unless `temperature`, `topK` or `topP` say otherwise.
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

  #checkPositions(where: string, position: number, seqLen: number): void {
    if (this.config.position.type !== 'learned') return;
    const { maxLength } = this.config.position;
    if (position + seqLen > maxLength) {
      throw new ArgumentError(
        `${where}: tokens must end within the ${maxLength} learned positions, got ${position + seqLen}`,
      );
    }
  }
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
