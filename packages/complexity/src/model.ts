/**
 * A model as a list of ops, in the order and with the shapes in which @freelunch/models runs them: whole sequences to
 * learn from, whole sequences that go into a state, and single steps.
 */
import type { ResolvedConfig, ResolvedMixer, ResolvedMlp, ResolvedSharedBlocks } from '@freelunch/config';
import { Expression, product } from './expression.js';
import { type Entry, Layer, type Matrix, reading, type Situation } from './model/layer.js';
import { addMixer } from './model/mixer.js';
import { addMlp } from './model/mlp.js';
import { addSharedBlock, type LeadKind } from './model/shared-block.js';
import { copy } from './ops/activation.js';
import { embedding, embeddingBackward } from './ops/embedding.js';

/** A residual block: a norm, a mixer, an addition, and the same with an MLP; one of them may be absent. */
export function block(
  situation: Situation,
  mixer: ResolvedMixer,
  mlp: ResolvedMlp,
  model: ResolvedConfig,
  lead: LeadKind,
): { mixer: Entry[]; mlp: Entry[] } {
  const branch = (add: (layer: Layer) => number, shared?: ResolvedSharedBlocks): Entry[] => {
    const layer = new Layer(situation);
    if (shared) addSharedBlock(layer, shared, model, lead);
    layer.norm('norm', model.norm);
    const uses = add(layer) + (shared ? 2 : 0); // x and the embeddings, once more each
    const size = product(layer.rows, situation.dModel);
    layer.used('x', uses + 1, size); // in the branch, and beside it
    layer.multiplied('multiplier', model.residualMultiplier, situation.dModel);
    layer.pointwise('residual', 'add', size);
    return layer.entries;
  };
  return {
    mixer:
      mixer.type === 'none'
        ? []
        : branch((layer) => addMixer(layer, mixer, model), lead === 'none' ? undefined : model.sharedBlocks),
    mlp: mlp.type === 'none' ? [] : branch((layer) => addMlp(layer, mlp, model)),
  };
}

/** What comes before the blocks. */
export function embed(situation: Situation, model: ResolvedConfig): Entry[] {
  const layer = new Layer(situation);
  const { grain, dModel, sizes } = situation;
  const size = product(layer.rows, dModel);
  const table = (name: string, rows: Expression, matrix?: Matrix) =>
    layer.add(name, reading(embedding(layer.rows, dModel), matrix, size), {
      matrix,
      tensors: [product(rows, dModel)],
      backward: () => embeddingBackward(grain, layer.rows, rows, dModel),
      outputs: size,
    });
  const vocabSize = sizes.size('vocabSize', model.vocabSize);
  table('embedding', vocabSize, layer.matrix(vocabSize, dModel));
  layer.multiplied('multiplier', model.embeddingMultiplier, dModel);
  if (model.position.type === 'learned') {
    table('positions', sizes.size('maxLength', model.position.maxLength));
    layer.pointwise('add', 'add', size);
  }
  return layer.entries;
}

/** And after them. @param last of the last position alone */
export function head(situation: Situation, model: ResolvedConfig, last: boolean): Entry[] {
  const rows = last ? situation.batch : situation.batch.times(situation.seqLen);
  const layer = new Layer(situation, rows);
  const { dModel, sizes } = situation;
  const vocabSize = sizes.size('vocabSize', model.vocabSize);
  if (last && situation.phase !== 'decode')
    layer.add('last', copy(product(rows, dModel)), { outputs: product(rows, dModel) });
  layer.norm('norm', model.norm);
  layer.linear('lm_head', vocabSize, dModel);
  const entry = layer.entries[layer.entries.length - 1];
  if (model.tieEmbeddings) {
    entry.params = Expression.of(0);
    entry.matrix = undefined;
    entry.tensors = [];
    layer.used('tied', 2, product(vocabSize, dModel));
  }
  layer.multiplied('logits', model.logitsMultiplier, vocabSize);
  return layer.entries;
}
