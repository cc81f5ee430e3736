/**
 * A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, a last norm, a head.
 *
 *   x[0] = embedding(tokens)
 *   x[i+1] = h + mlp(norm2(h)),  h = x[i] + mixer(norm(x[i])); without an MLP h, without a mixer h = x[i]
 *   logits = head(norm_f(x[nLayers]))
 *
 * Where a mixer has a lead, its input is norm(x[i] + lead(x[i], x[0])).
 */
import type { ResolvedConfig } from '@freelunch/config';
import { type Kernels, QuantizedTensor, type Tensor } from '@freelunch/kernels';
import type { Block } from './architecture.js';
import type { Lead, Mixer, MixerState } from './mixers/mixer.js';
import { freeing, isPlain, normWeight, type Ops, plainOps, scaled } from './mixers/ops.js';
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

/** How a layer's mixer is computed, over a sequence or a step. */
interface Mixing {
  lead(lead: Lead, p: Scope): FloatTensor;
  mix(mixer: Mixer, p: Scope, x: FloatTensor): FloatTensor;
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
  /** Whether some layer looks at the embeddings again. */
  readonly #leads: boolean;

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
    this.#leads = blocks.some(({ mixer }) => mixer?.lead !== undefined);
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
    const embedded = this.#embed(o, ids, learned ? positionsOf(o.k, ids, state?.position ?? 0) : undefined);
    let x = embedded;
    const through = (): FloatTensor => {
      this.blocks.forEach((block, layer) => {
        observe?.(`hidden.${layer}`, x);
        const mixerState = state?.layers[layer];
        const input = x;
        const inside = (inner: Ops) =>
          this.#block(inner, block, input, {
            lead: (lead, p) => lead.forward(inner, p, input, embedded, mixerState),
            mix: (mixer, p, normed) => mixer.forward(inner, p, normed, mixerState),
          });
        x =
          checkpoint && mixerState === undefined
            ? o.checkpoint(inside, [input, ...(block.mixer?.lead ? [embedded] : []), ...this.#ofBlock(block)])
            : freeing(o, () => inside(o));
        if (isPlain(o) && x !== input && !(this.#leads && input === embedded)) input.dispose();
      });
      observe?.(`hidden.${this.blocks.length}`, x);
      if (isPlain(o) && this.#leads && x !== embedded) embedded.dispose();
      return x;
    };
    return state === undefined ? through() : state.advance(ids.shape[1], through);
  }

  /** What a step calls, on the state of each layer: see `Mixer.step`. @returns logits `[batch, vocabSize]` */
  step(layers: readonly MixerState[], { ids, positions, position, held }: StepInputs): FloatTensor {
    const o = plainOps(this.#k);
    const embedded = this.#embed(o, ids, positions).reshape([ids.shape[0], this.#config.dModel]);
    let x = embedded;
    this.blocks.forEach((block, layer) => {
      const input = x;
      const now = { position, held: held[layer] };
      x = freeing(o, () =>
        this.#block(o, block, input, {
          lead: (lead, p) => lead.step(o, p, input, embedded, layers[layer], now),
          mix: (mixer, p, normed) => mixer.step(o, p, normed, layers[layer], now),
        }),
      );
      if (x !== input && !(this.#leads && input === embedded)) input.dispose();
    });
    if (this.#leads && x !== embedded) embedded.dispose();
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

  #ofBlock({ prefix, mixer }: Block): FloatTensor[] {
    const prefixes = [prefix, ...(mixer?.lead?.parameters ?? [])];
    const ofBlock = [...this.#weights].filter(([name]) => prefixes.some((one) => name.startsWith(one)));
    return ofBlock.flatMap(([, weight]) => (weight instanceof QuantizedTensor ? [] : [weight]));
  }

  #norm(o: Ops, prefix: string, x: FloatTensor): FloatTensor {
    const { type, eps, zeroCentered } = this.#config.norm;
    if (type === 'none') return x;
    const weight = this.#scope(prefix).get('weight');
    return type === 'rms'
      ? o.rmsNorm({ x, weight: normWeight(o, weight, zeroCentered), eps })
      : o.layerNorm({ x, weight, bias: this.#scope(prefix).get('bias'), eps });
  }

  /** One layer, over a sequence or a step. */
  #block(
    o: Ops,
    { prefix, mixerPrefix, normPrefix, mixer, mlp }: Block,
    x: FloatTensor,
    { lead, mix }: Mixing,
  ): FloatTensor {
    let h = x;
    if (mixer !== undefined) {
      const p = this.#scope(mixerPrefix);
      h = freeing(o, () => {
        const input = mixer.lead === undefined ? x : o.add({ a: x, b: lead(mixer.lead, p) });
        return this.#added(o, x, mix(mixer, p, this.#norm(o, normPrefix, input)));
      });
    }
    if (mlp === undefined) return h;
    const p = this.#scope(`${prefix}mlp.`);
    return this.#added(o, h, mlp.forward(o, p, this.#norm(o, `${prefix}mlp_norm.`, h)));
  }

  /** What a mixer or an MLP gives, added to the residual stream. */
  #added(o: Ops, x: FloatTensor, y: FloatTensor): FloatTensor {
    return o.add({ a: x, b: scaled(o, y, this.#config.residualMultiplier) });
  }

  #embed(o: Ops, ids: Tensor, positions: Tensor | undefined): FloatTensor {
    const tokens = o.embedding({ ids, weight: this.#scope('').matrix('embedding.weight') });
    const x = scaled(o, tokens, this.#config.embeddingMultiplier);
    if (positions === undefined || this.#config.position.type !== 'learned') return x;
    return o.add({
      a: x,
      b: o.embedding({ ids: positions, weight: this.#scope('').get('positions.weight') }),
    });
  }

  #head(o: Ops, x: FloatTensor): FloatTensor {
    const b = this.#scope('').matrix(this.#config.tieEmbeddings ? 'embedding.weight' : 'head.weight');
    return scaled(o, o.matmul({ a: x, b, transposeB: true }), this.#config.logitsMultiplier);
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
