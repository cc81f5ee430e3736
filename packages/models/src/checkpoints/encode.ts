/** Models as files in memory. */
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { LanguageModel } from '../language-model.js';
import { joinChunks, type SaveOptions, storedChunks } from './safetensors.js';
import { storedModel } from './stored-model.js';

/**
 * The files that `savePretrained` writes, for where there is no directory, such as a page that offers them to be kept.
 *
 *   const files = encodePretrained(model).map(({ name, bytes }) => new File([bytes], name));
 *   const again = await loadPretrained(k, files);
 *
 * @param options.dtype  of weights that are float32 in memory; `F32` if absent
 * @returns config.json and model.safetensors
 * @throws ArgumentError
 */
export function encodePretrained(
  model: LanguageModel,
  options: Pick<SaveOptions, 'dtype'> = {},
): { name: string; bytes: Uint8Array<ArrayBuffer> }[] {
  if (!(model instanceof LanguageModel))
    throw new ArgumentError(`encodePretrained: model must be a LanguageModel, got ${show(model)}`);
  checkOptions('encodePretrained', options, ['dtype']);
  const { dtype = 'F32' } = options;
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new ArgumentError(`encodePretrained: dtype must be 'F32', 'F16' or 'BF16', got ${show(dtype)}`);
  const { config, tensors } = storedModel(model, dtype);
  return [
    { name: 'config.json', bytes: new TextEncoder().encode(config) },
    { name: 'model.safetensors', bytes: joinChunks(storedChunks(tensors, { format: 'pt' })) },
  ];
}
