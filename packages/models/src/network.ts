/**
 * A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, a last norm, a head.
 *
 *   x[0] = embedding(tokens)
 *   x[i+1] = h + mlp(norm2(h)),  h = x[i] + mixer(norm(x[i])); without an MLP h, without a mixer h = x[i]
 *   logits = head(norm_f(x[nLayers]))
 */
import type { ResolvedConfig } from '@freelunch/config';
import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import type { Block } from './architecture.js';
import type { Mixer, MixerState } from './mixers/mixer.js';
import { freeing, isPlain, type Ops, plainOps } from './mixers/ops.js';
import { type FloatTensor, type ParameterSpec, Scope, type Weight } from './mixers/parameters.js';
import { pieceLength } from './pieces.js';
import { LayerStates } from './state.js';
import type { StepInputs } from './step-plan.js';
import { columns, positionsOf } from './token-rows.js';

/** How tokens are gone through: see `ForwardOptions`. */
interface Pass {
  state: LayerStates | undefined;
  lastOnly: boolean;
  checkpoint: boolean;
  observe: ((name: string, value: FloatTensor) => void) | undefined;
}

/** What a model computes, with its weights. Arguments have been checked. */
export class Network {
  readonly blocks: readonly Block[];
  readonly #k: Kernels;
  readonly #config: ResolvedConfig;
  /** By their paths. */
  readonly #weights: ReadonlyMap<string, Weight>;
  /** Positions in a piece of a long prompt. */
  readonly #pieceLength: number;

  constructor(
    k: Kernels,
    config: ResolvedConfig,
    blocks: readonly Block[],
    specs: readonly ParameterSpec[],
    weights: ReadonlyMap<string, Weight>,
  ) {
    this.#k = k;
    this.#config = config;
    this.blocks = blocks;
    this.#weights = new Map(specs.map(({ path, name }) => [path, weights.get(name)!]));
    this.#pieceLength = pieceLength(config);
  }

  /** What each layer keeps before the first token. */
  initialState(batch: number): MixerState[] {
    const k = this.#k;
    // In a scope: where memory ends before all is made, nothing of it stays.
    return k.scope(() =>
      this.blocks.map(({ mixer }) => mixer?.initialState(k, batch) ?? { tensors: {}, position: 0 }),
    );
  }

  /** Logits of the next token, `[batch, seqLen, vocabSize]`, or of the last position alone. */
  logits(o: Ops, ids: Tensor, { state, lastOnly, checkpoint, observe }: Pass): FloatTensor {
    const inPieces = lastOnly && isPlain(o) && observe === undefined && this.#pieceLength < Infinity;
    const last = inPieces
      ? this.#readInPieces(o, ids, state)
      : this.#layers(o, ids, state, checkpoint, observe);
    const normed = this.#norm(o, 'final_norm.', lastOnly ? lastRows(o, last) : last);
    observe?.('final_norm', normed);
    return this.#head(o, normed);
  }

  /** The residual stream after the last layer. */
  #layers(
    o: Ops,
    ids: Tensor,
    state: LayerStates | undefined,
    checkpoint = false,
    observe?: Pass['observe'],
  ): FloatTensor {
    const learned = this.#config.position.type === 'learned';
    let x = this.#embed(o, ids, learned ? positionsOf(o.k, ids, state?.position ?? 0) : undefined);
    const through = (): FloatTensor => {
      this.blocks.forEach((block, layer) => {
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
      observe?.(`hidden.${this.blocks.length}`, x);
      return x;
    };
    return state === undefined ? through() : state.advance(ids.shape[1], through);
  }

  /** What a step calls, on the state of each layer: see `Mixer.step`. @returns logits `[batch, vocabSize]` */
  step(layers: readonly MixerState[], { ids, positions, position, held }: StepInputs): FloatTensor {
    const o = plainOps(this.#k);
    let x = this.#embed(o, ids, positions).reshape([ids.shape[0], this.#config.dModel]);
    this.blocks.forEach((block, layer) => {
      const input = x;
      x = freeing(o, () =>
        this.#block(o, block, input, (mixer, p, normed) =>
          mixer.step(o, p, normed, layers[layer], { position, held: held[layer] }),
        ),
      );
      if (x !== input) input.dispose();
    });
    return this.#head(o, this.#norm(o, 'final_norm.', x));
  }

  /** As `#layers`, for the sake of the last position alone: memory does not grow with the length. */
  #readInPieces(o: Ops, ids: Tensor, given: LayerStates | undefined): FloatTensor {
    const { k } = o;
    const [batch, seqLen] = ids.shape;
    const piece = this.#pieceLength;
    if (seqLen < 1.5 * piece) return this.#layers(o, ids, given);
    const state = given ?? new LayerStates(batch, this.initialState(batch));
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
    const ofBlock = [...this.#weights].filter(([name]) => name.startsWith(prefix));
    return ofBlock.flatMap(([, weight]) => (weight instanceof QuantizedTensor ? [] : [weight]));
  }

  #norm(o: Ops, prefix: string, x: FloatTensor): FloatTensor {
    const { type, eps } = this.#config.norm;
    if (type === 'none') return x;
    const weight = this.#scope(prefix).get('weight');
    return type === 'rms'
      ? o.rmsNorm({ x, weight, eps })
      : o.layerNorm({ x, weight, bias: this.#scope(prefix).get('bias'), eps });
  }

  /** One layer; `mix` is its mixer, over a sequence or a step. */
  #block(
    o: Ops,
    { prefix, mixerPrefix, mixer, mlp }: Block,
    x: FloatTensor,
    mix: (mixer: Mixer, p: Scope, x: FloatTensor) => FloatTensor,
  ): FloatTensor {
    let h = x;
    if (mixer !== undefined) {
      const p = this.#scope(mixerPrefix);
      h = freeing(o, () => o.add({ a: x, b: mix(mixer, p, this.#norm(o, `${prefix}mixer_norm.`, x)) }));
    }
    if (mlp === undefined) return h;
    const p = this.#scope(`${prefix}mlp.`);
    return o.add({ a: h, b: mlp.forward(o, p, this.#norm(o, `${prefix}mlp_norm.`, h)) });
  }

  #embed(o: Ops, ids: Tensor, positions: Tensor | undefined): FloatTensor {
    const x = o.embedding({ ids, weight: this.#scope('').matrix('embedding.weight') });
    if (positions === undefined || this.#config.position.type !== 'learned') return x;
    return o.add({
      a: x,
      b: o.embedding({ ids: positions, weight: this.#scope('').get('positions.weight') }),
    });
  }

  #head(o: Ops, x: FloatTensor): FloatTensor {
    return o.matmul({
      a: x,
      b: this.#scope('').matrix(this.#config.tieEmbeddings ? 'embedding.weight' : 'head.weight'),
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
