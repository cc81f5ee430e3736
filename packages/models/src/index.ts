export { configJson, resolveConfig } from '@freelunch/config';
export type * from '@freelunch/config';
export { createModel, LanguageModel } from './language-model.js';
export type { ForwardOptions, LossOptions } from './language-model.js';
export type { ModelState } from './state.js';
export type { Tokens } from './token-rows.js';
export type { GenerateOptions } from './generate.js';
export { generateText, type GenerateTextOptions, type TextTokens } from './text/generate-text.js';
export { StopTexts, TextStream } from './text/streaming.js';
export { byteTokens, characterTokens } from './text/tokens.js';
export { splitTokens, textBatches, type TextBatchesOptions, type TextBatchesState } from './text/batches.js';
export { quantizeModel, type QuantizeModelOptions } from './quantize-model.js';
export { evaluate, type EvaluateOptions, type Evaluation } from './evaluate.js';
export { train } from './train.js';
export type { Batches, TrainingBatch } from './training/batches.js';
export type { OptimizerConfig, StepMetrics, TrainOptions } from './training/options.js';
export {
  blobSource,
  bytesSource,
  type ByteSource,
  fileSource,
  streamSource,
} from './checkpoints/byte-source.js';
export { urlSource } from './checkpoints/url-source.js';
export { openCache } from './checkpoints/cache/file-cache.js';
export type { CachedFile, FileCache } from './checkpoints/cache/file-cache.js';
export type { SourceOptions } from './checkpoints/source-options.js';
export {
  encodeSafetensors,
  loadSafetensors,
  readSafetensorsHeader,
  readTensor,
  safetensorsChunks,
  saveSafetensors,
} from './checkpoints/safetensors.js';
export type { ByteProgress, ReadOptions, SaveOptions } from './checkpoints/safetensors.js';
export { loadPretrained } from './checkpoints/checkpoint.js';
export { inspectPretrained } from './checkpoints/inspect.js';
export type { InspectOptions, PretrainedInfo, TensorInfo } from './checkpoints/inspect.js';
export { encodePretrained } from './checkpoints/encode.js';
export { savePretrained } from './checkpoints/save.js';
export type { LoadPretrainedOptions } from './checkpoints/checkpoint.js';
export type { SavePretrainedOptions } from './checkpoints/save.js';
export type { DTypeOptions } from './checkpoints/dtype-options.js';
export type { FolderSource } from './checkpoints/folder.js';
export type { ModelSource } from './checkpoints/source.js';
