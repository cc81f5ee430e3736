import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import type { WeightDType } from '@freelunch/kernels';
import { checkDTypeOptions, type DTypeOptions, dtypeOf } from './checkpoints/dtype-options.js';
import { quantizeWeight } from './checkpoints/weights.js';
import { LanguageModel } from './language-model.js';
import type { ParameterSpec, Weight } from './mixers/parameters.js';

export interface QuantizeModelOptions extends Pick<DTypeOptions, 'except'> {
  dtype: WeightDType;
}

const dtypes = ['float16', 'bfloat16', 'int8', 'int4'];

/**
 * A second model with the same weights in fewer bits: those of linear layers and embeddings, as `loadPretrained` has them
 * with `dtype`. The first stays as it is.
 *
 * @param options.dtype   `float16`, `bfloat16`, `int8` or `int4`
 * @param options.except  weights that stay float32, by name or pattern
 * @throws ArgumentError; UnsupportedError if the model is quantised already; OutOfMemoryError
 */
export function quantizeModel(model: LanguageModel, options: QuantizeModelOptions): LanguageModel {
  if (!(model instanceof LanguageModel))
    throw new ArgumentError(`quantizeModel: model must be a LanguageModel, got ${show(model)}`);
  checkOptions('quantizeModel', options, ['dtype', 'except']);
  const { dtype, except }: Partial<QuantizeModelOptions> = options ?? {}; // callers without types
  if (dtype === undefined)
    throw new ArgumentError(`quantizeModel: dtype must be one of ${dtypes.join(', ')}, got nothing`);
  checkDTypeOptions('quantizeModel', { dtype, except }, dtypes);
  const { k, specs, config } = model;
  const parameters = model.parameters();
  const kept = (spec: ParameterSpec): Weight => {
    const weight = parameters.get(spec.name)!;
    const fewer = dtypeOf(spec, dtype, except);
    return fewer === undefined ? k.tensor(weight.data, weight.shape) : quantizeWeight(k, spec, weight, fewer);
  };
  const weights = k.scope(() => new Map(specs.map((spec) => [spec.name, kept(spec)])));
  return new LanguageModel(k, config, weights);
}
