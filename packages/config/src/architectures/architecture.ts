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
  /** The reverse; undefined where the form has no place for something. */
  write(config: ResolvedConfig): Json | undefined;
}

/** What is the same in every layer, for forms that have one of each. */
export interface Uniform {
  mixer: ResolvedMixer;
  mlp: ResolvedMlp;
}

/**
 * A model card: the fields of the file with their defaults, what they become, and the way back.
 *
 * @param toConfig gets the fields, read and checked; `place(name)` refuses one by name
 * @param toFile   gets only models whose layers are all alike; without it, nothing is written in this form
 */
export function architecture<F extends FieldTable>({
  type,
  classes,
  fields,
  toConfig,
  toFile = () => undefined,
}: {
  type: string;
  classes: readonly string[];
  fields: F;
  toConfig: (values: Values<NoInfer<F>>, place: (name: keyof NoInfer<F> & string) => Place) => ModelConfig;
  toFile?: (
    config: ResolvedConfig,
    layer: Uniform,
  ) => Partial<Record<keyof NoInfer<F> & string, unknown>> | undefined;
}): Architecture {
  return {
    type,
    classes,
    read: (json, where) => toConfig(readFields(json, fields, where), (name) => placeOf(json, where, name)),
    write(config) {
      const { mixers, mlps } = config;
      const alike = (layers: readonly object[]) =>
        layers.every((layer) => layer === layers[0] || JSON.stringify(layer) === JSON.stringify(layers[0]));
      if (!alike(mixers) || !alike(mlps)) return undefined;
      const file = toFile(config, { mixer: mixers[0], mlp: mlps[0] });
      return (
        file && { architectures: classes.slice(0, 1), model_type: type, ...file, torch_dtype: 'float32' }
      );
    },
  };
}
