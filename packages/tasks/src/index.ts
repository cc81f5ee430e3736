export { random, Random } from '@freelunch/random';
export type { RandomState } from '@freelunch/random';
export { exp, ln } from '@freelunch/random';
export { TaskError } from './errors.js';
export { Vocabulary } from './vocabulary.js';
export type { Size } from './options.js';
export { Task } from './task.js';
export type { TaskDefinition } from './task.js';
export type { Locality, Sample, Sampler, Written } from './sample.js';
export type { CheckMode, CheckResult, StepVerdict } from './check.js';
export { BatchStream } from './batches.js';
export type { Batch, BatchOptions, StreamState } from './batches.js';
export { Metrics } from './metrics.js';
export type { Tally } from './metrics.js';

export { copy, reverseCopy } from './recall/copy.js';
export type { CopyOptions, CopyProblem } from './recall/copy.js';
export { duplicatedNgrams, ngramLookup } from './recall/ngram-lookup.js';
export type {
  DuplicatedNgramsOptions,
  NgramLookupOptions,
  NgramLookupProblem,
} from './recall/ngram-lookup.js';
export { delayedCopy, madSelectiveCopy, selectiveCopy } from './recall/delayed-copy.js';
export type { DelayedCopyOptions, MadSelectiveCopyOptions, TextProblem } from './recall/delayed-copy.js';
export { phoneBook } from './recall/phone-book.js';
export type { PhoneBookOptions, PhoneBookProblem } from './recall/phone-book.js';
export { inductionHeads } from './recall/induction-heads.js';
export type { InductionHeadsOptions, InductionProblem } from './recall/induction-heads.js';
export { associativeRecall } from './recall/associative-recall.js';
export type { AssociativeRecallOptions, AssociativeRecallProblem } from './recall/associative-recall.js';
export { mqar, mqarCompositional, mqarForgetting } from './recall/mqar.js';
export type { MqarForgettingOptions, MqarOptions, RecallProblem } from './recall/mqar.js';
export { inContextRecall, noisyRecall } from './recall/in-context-recall.js';
export type { ContextProblem, InContextRecallOptions } from './recall/in-context-recall.js';
export { fuzzyRecall } from './recall/fuzzy-recall.js';
export type { FuzzyRecallOptions } from './recall/fuzzy-recall.js';
export { memorization } from './recall/memorization.js';
export type { MemorizationOptions, MemorizationProblem } from './recall/memorization.js';
export { compression } from './recall/compression.js';
export type { CompressionOptions, CompressionProblem } from './recall/compression.js';
export { circuit } from './recall/circuits.js';
export type { CircuitOptions, CircuitProblem } from './recall/circuits.js';

export { defineDp } from './dp/dp.js';
export { DpTask } from './dp/task.js';
export type { Arg, Arithmetic, FixedArg, Quantity, Transition } from './dp/transition.js';
export type {
  DpDefinition,
  DpLayout,
  DpOptions,
  DpPlaces,
  DpSolution,
  DpStructure,
  DpText,
  Token,
} from './dp/definition.js';
export { arithmetic } from './programs/arithmetic.js';
export type { ArithmeticOptions, ArithmeticProblem } from './programs/arithmetic.js';
export { equation } from './programs/equation.js';
export type { EquationOptions, EquationProblem } from './programs/equation.js';
export { lis } from './programs/lis.js';
export type { LisOptions, LisProblem } from './programs/lis.js';
export { editDistance } from './programs/edit-distance.js';
export type { EditCosts, EditDistanceOptions } from './programs/edit-distance.js';
export type { GridOrder, GridProblem } from './programs/grid.js';
export { lcs } from './programs/lcs.js';
export type { LcsOptions } from './programs/lcs.js';
export { knapsack } from './programs/knapsack.js';
export type { KnapsackOptions, KnapsackProblem } from './programs/knapsack.js';
export { matrixChain } from './programs/matrix-chain.js';
export type { MatrixChainOptions, MatrixChainProblem } from './programs/matrix-chain.js';
export { cyk, grammars } from './programs/cyk.js';
export type { CykOptions, CykProblem, Grammar } from './programs/cyk.js';
export { recurrence } from './programs/recurrence.js';
export type { RecurrenceOptions, RecurrenceProblem } from './programs/recurrence.js';
export { prefixMax, prefixSum } from './programs/prefix.js';
export type { PrefixOptions, PrefixProblem } from './programs/prefix.js';
export { layeredPath } from './programs/layered-path.js';
export type { LayeredPathOptions, LayeredPathProblem } from './programs/layered-path.js';
export { modularSum, parity, wordProblem } from './programs/word-problem.js';
export type { WordProblemOptions } from './programs/word-problem.js';

export { createTask, factories, taskOf } from './files/manifest.js';
export type { ExportOptions, Manifest, Source, TaskFactory } from './files/manifest.js';
export { sources } from './files/sources.js';
export type { TaskSource } from './files/sources.js';
export { readJsonLines, rewriteJsonLines, writeJsonLines } from './files/json-lines.js';
export type { JsonLines } from './files/json-lines.js';
export { readSafetensors, rewriteSafetensors, writeSafetensors } from './files/safetensors.js';
export type { Dataset, SafetensorsOptions } from './files/safetensors.js';
