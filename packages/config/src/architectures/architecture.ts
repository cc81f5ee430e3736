import { type FieldTable, type Place, placeOf, readFields, type Values } from '../fields.js';
import type { Json } from '../json.js';
import type { ModelConfig, ResolvedConfig, ResolvedMixer, ResolvedMlp } from '../types.js';

/** One kind of model that config.json can describe. */
export interface Architecture {
  /** Its `model_type`. */
  readonly type: string;
  /** What files name in `architectures`. */
  readonly classes: readonly string[];
  read(json: Json, where: string): ModelConfig;
}

/**
 * A model card: the fields of the file with their defaults, and what they become.
 *
 * @param toConfig gets the fields, read and checked; `place(name)` refuses one by name
 */
export const architecture = <F extends FieldTable>({
  type,
  classes,
  fields,
  toConfig,
}: {
  type: string;
  classes: readonly string[];
  fields: F;
  toConfig: (values: Values<NoInfer<F>>, place: (name: keyof NoInfer<F> & string) => Place) => ModelConfig;
}): Architecture => ({
  type,
  classes,
  read: (json, where) => toConfig(readFields(json, fields, where), (name) => placeOf(json, where, name)),
});

/** What is the same in every layer, for forms that have one of each. */
export interface Uniform {
  mixer: ResolvedMixer;
  mlp: ResolvedMlp;
}

/**
 * The file of a model, or undefined for one of another form. It need not say all of the model: it is written only if what
 * is read from it is the same model.
 */
export type Writer = (config: ResolvedConfig) => Json | undefined;

/** Whether every layer's is the first one's. */
export const isAlike = (layers: readonly object[]): boolean =>
  layers.every((layer) => layer === layers[0] || JSON.stringify(layer) === JSON.stringify(layers[0]));

/** A file in the form of an architecture whose layers are all alike. @param toFile gets only models whose layers are all alike */
export function fileOf(
  { type, classes }: Architecture,
  config: ResolvedConfig,
  toFile: (layer: Uniform) => Json | undefined,
): Json | undefined {
  const { mixers, mlps } = config;
  if (!isAlike(mixers) || !isAlike(mlps)) return undefined;
  const file = toFile({ mixer: mixers[0], mlp: mlps[0] });
  return file && fileOfLayers({ type, classes }, file);
}

/** The same for forms whose layers differ. */
export const fileOfLayers = (
  { type, classes }: Pick<Architecture, 'type' | 'classes'>,
  file: Json,
): Json => ({
  architectures: classes.slice(0, 1),
  model_type: type,
  ...file,
  torch_dtype: 'float32',
});

/** The layers whose mixer, or MLP, is of a type. */
export const layersOf = (layers: readonly { type: string }[], type: string): number[] =>
  layers.flatMap((layer, i) => (layer.type === type ? [i] : []));
