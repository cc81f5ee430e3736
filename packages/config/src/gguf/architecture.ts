import { type FieldTable, type Place, placeOf, readFields, type Values } from '../fields.js';
import type { Json } from '../json.js';
import type { ModelConfig } from '../types.js';

/** What the tensors of a file say of a model. */
export interface Weights {
  vocabSize: number;
  /** True where there is no output.weight. */
  tieEmbeddings: boolean;
  has(name: string): boolean;
  /** Rows first; undefined for a tensor that is not there. */
  shapeOf(name: string): readonly number[] | undefined;
}

/** One kind of model that a GGUF file can hold. */
export interface GgufArchitecture {
  /** Its `general.architecture`, and the prefix of its fields. */
  readonly name: string;
  read(fields: Json, where: string, weights: Weights): ModelConfig;
}

/**
 * A model card.
 *
 * @param fields the hyperparameters, by their names behind the prefix
 */
export const ggufArchitecture = <F extends FieldTable>({
  name,
  fields,
  toConfig,
}: {
  name: string;
  fields: F;
  toConfig: (
    values: Values<NoInfer<F>>,
    weights: Weights,
    place: (name: keyof NoInfer<F> & string) => Place,
  ) => ModelConfig;
}): GgufArchitecture => ({
  name,
  read: (json, where, weights) =>
    toConfig(readFields(json, fields, where), weights, (field) => placeOf(json, where, field)),
});
