/** In which dtype the matrices of a model are kept, and which of them are not. */
import { ArgumentError, show } from '@freelunch/errors';
import type { WeightDType } from '@freelunch/kernels';
import type { ParameterSpec } from '../mixers/parameters.js';
import type { Entry } from './safetensors-format.js';
import { blocksOf, canHave, halves } from './weights.js';

export interface DTypeOptions {
  /**
   * Of the weights of linear layers and embeddings: `float32`; `float16` and `bfloat16`, half of it; `int8` and `int4`, a
   * quarter and an eighth and a scale for every 32 weights along the input; `auto`, as the file has them, half floats and
   * blocks bit for bit. All else stays float32: norms, biases, convolutions, A, D, dt, gates, learned positions, and rows
   * that are no multiple of 32 for `int8` and `int4`. If absent, float32, except for files that were saved quantised.
   */
  dtype?: 'float32' | WeightDType | 'auto';
  /** Weights that stay float32, by their names in `model.weights()`: whole names, or what matches a pattern. */
  except?: readonly (string | RegExp)[];
}

const dtypes = ['float32', 'float16', 'bfloat16', 'int8', 'int4', 'auto'] as const;

/** @throws ArgumentError */
export function checkDTypeOptions(
  where: string,
  { dtype, except }: DTypeOptions,
  allowed: readonly string[] = dtypes,
): void {
  if (dtype !== undefined && !allowed.includes(dtype))
    throw new ArgumentError(`${where}: dtype must be one of ${allowed.join(', ')}, got ${show(dtype)}`);
  if (except === undefined) return;
  const ok = Array.isArray(except) && except.every((one) => typeof one === 'string' || one instanceof RegExp);
  if (!ok)
    throw new ArgumentError(
      `${where}: except must be a list of names and regular expressions, got ${show(except)}`,
    );
}

/** Whether `except` names a parameter. */
const isExcepted = (name: string, except: readonly (string | RegExp)[] = []): boolean =>
  except.some((one) => (typeof one === 'string' ? one === name : name.search(one) >= 0));

/** The dtype of a parameter in memory, undefined for float32. */
export function dtypeOf(
  spec: ParameterSpec,
  dtype: DTypeOptions['dtype'],
  except: DTypeOptions['except'],
): WeightDType | undefined {
  if (dtype === undefined || dtype === 'float32' || dtype === 'auto') return undefined;
  return canHave(spec, dtype) && !isExcepted(spec.name, except) ? dtype : undefined;
}

/** The same, of a parameter that comes from a file. */
export function dtypeToLoad(
  spec: ParameterSpec,
  entry: Entry,
  { dtype, except }: DTypeOptions,
): WeightDType | undefined {
  const blocks = blocksOf(spec, entry);
  const half = dtype === 'auto' ? halves[entry.dtype] : undefined;
  return dtypeOf(spec, dtype === 'auto' || dtype === undefined ? (blocks ?? half) : dtype, except);
}
