export { random, Random } from './random.js';
export type { RandomState } from './random.js';
export { exp, ln } from './real.js';
export { TaskError } from './errors.js';
export { Vocabulary } from './vocabulary.js';
export type { Size } from './options.js';
export { Task } from './task.js';
export type { Locality, Sample, TaskDefinition, Written } from './task.js';
export type { CheckMode, CheckResult, StepVerdict } from './check.js';
export { BatchStream } from './batches.js';
export type { Batch, BatchOptions, StreamState } from './batches.js';
export { Metrics } from './metrics.js';
export type { Tally } from './metrics.js';

export { copy, reverseCopy } from './copy.js';
export type { CopyOptions, CopyProblem } from './copy.js';
export { duplicatedNgrams, ngramLookup } from './ngram-lookup.js';
export type { DuplicatedNgramsOptions, NgramLookupOptions, NgramLookupProblem } from './ngram-lookup.js';
export { delayedCopy, madSelectiveCopy, selectiveCopy } from './delayed-copy.js';
export type { DelayedCopyOptions, MadSelectiveCopyOptions, TextProblem } from './delayed-copy.js';
export { phoneBook } from './phone-book.js';
export type { PhoneBookOptions, PhoneBookProblem } from './phone-book.js';
export { inductionHeads } from './induction-heads.js';
export type { InductionHeadsOptions, InductionProblem } from './induction-heads.js';
export { associativeRecall } from './associative-recall.js';
export type { AssociativeRecallOptions, AssociativeRecallProblem } from './associative-recall.js';
export { mqar, mqarCompositional, mqarForgetting } from './mqar.js';
export type { MqarForgettingOptions, MqarOptions, RecallProblem } from './mqar.js';
export { inContextRecall, noisyRecall } from './in-context-recall.js';
export type { ContextProblem, InContextRecallOptions } from './in-context-recall.js';
export { fuzzyRecall } from './fuzzy-recall.js';
export type { FuzzyRecallOptions } from './fuzzy-recall.js';
export { memorization } from './memorization.js';
export type { MemorizationOptions, MemorizationProblem } from './memorization.js';
export { compression } from './compression.js';
export type { CompressionOptions, CompressionProblem } from './compression.js';
export { circuit } from './circuits.js';
export type { CircuitOptions, CircuitProblem } from './circuits.js';

export { defineDp, DpTask } from './dp.js';
export type {
  DpDefinition,
  DpLayout,
  DpOptions,
  DpPlaces,
  DpSolution,
  DpStructure,
  DpText,
  Token,
} from './dp.js';
export { arithmetic } from './arithmetic.js';
export type { ArithmeticOptions, ArithmeticProblem } from './arithmetic.js';
export { equation } from './equation.js';
export type { EquationOptions, EquationProblem } from './equation.js';
export { lis } from './lis.js';
export type { LisOptions, LisProblem } from './lis.js';
export { editDistance } from './edit-distance.js';
export type { EditCosts, EditDistanceOptions } from './edit-distance.js';
export type { GridOrder, GridProblem } from './grid.js';
export { lcs } from './lcs.js';
export type { LcsOptions } from './lcs.js';
export { knapsack } from './knapsack.js';
export type { KnapsackOptions, KnapsackProblem } from './knapsack.js';
export { matrixChain } from './matrix-chain.js';
export type { MatrixChainOptions, MatrixChainProblem } from './matrix-chain.js';
export { cyk, grammars } from './cyk.js';
export type { CykOptions, CykProblem, Grammar } from './cyk.js';
export { recurrence } from './recurrence.js';
export type { RecurrenceOptions, RecurrenceProblem } from './recurrence.js';
export { prefixMax, prefixSum } from './prefix.js';
export type { PrefixOptions, PrefixProblem } from './prefix.js';
export { layeredPath } from './layered-path.js';
export type { LayeredPathOptions, LayeredPathProblem } from './layered-path.js';
export { modularSum, parity, wordProblem } from './word-problem.js';
export type { WordProblemOptions } from './word-problem.js';

export { createTask, factories, taskOf } from './manifest.js';
export type { ExportOptions, Manifest, Source, TaskFactory } from './manifest.js';
export { sources } from './sources.js';
export type { TaskSource } from './sources.js';
export { readJsonLines, rewriteJsonLines, writeJsonLines } from './json-lines.js';
export type { JsonLines } from './json-lines.js';
export { readSafetensors, rewriteSafetensors, writeSafetensors } from './safetensors.js';
export type { Dataset, SafetensorsOptions } from './safetensors.js';
