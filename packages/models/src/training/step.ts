/** One step: gradients of some batches as if they were one, clipped, then an update. */
import { createTape, type Optimizer, type Schedule } from '@freelunch/autograd';
import { ArgumentError, FreelunchError } from '@freelunch/errors';
import type { Tensor } from '@freelunch/kernels';
import type { LanguageModel } from '../language-model.js';
import type { FloatTensor } from '../mixers/parameters.js';
import type { TrainingBatch } from './batches.js';

export interface StepOptions {
  schedule: Schedule;
  maxGradientNorm: number;
  gradientCheckpointing: boolean;
}

export interface StepResult {
  step: number;
  loss: number;
  accuracy: number;
  gradientNorm: number;
  learningRate: number;
}

/** Sums over some batches. */
interface Totals {
  loss: number;
  correct: number;
}

function countScored({ targets, lossMask }: TrainingBatch): number {
  if (lossMask === undefined) return targets.length;
  let count = 0;
  for (const scored of lossMask) if (scored !== 0) count++;
  return count;
}

/** Places whose likeliest token is the target, among those that are scored. */
function countCorrect(logits: Float32Array, { targets, lossMask }: TrainingBatch, vocabSize: number): number {
  let correct = 0;
  for (let i = 0; i < targets.length; i++) {
    if (lossMask !== undefined && lossMask[i] === 0) continue;
    const row = i * vocabSize;
    let best = row;
    for (let v = row + 1; v < row + vocabSize; v++) if (logits[v] > logits[best]) best = v;
    if (best - row === targets[i]) correct++;
  }
  return correct;
}

/** Gradients of the loss summed over a batch and divided by `scored`, the tokens scored in the whole step. */
function gradientsOf(
  model: LanguageModel,
  batch: TrainingBatch,
  scored: number,
  checkpoint: boolean,
  totals: Totals,
): Map<Tensor, FloatTensor> {
  const { k } = model;
  const { inputs, targets, lossMask, batchSize, seqLen } = batch;
  const shape = [batchSize, seqLen];
  return k.scope(() => {
    const tape = createTape(k, model.parameters().values());
    const logits = model.forward(k.tensor(inputs, shape), { tape, checkpoint });
    totals.correct += countCorrect(logits.data, batch, model.config.vocabSize);
    const { loss } = tape.crossEntropy({
      logits,
      targets: k.tensor(targets, shape),
      mask: lossMask && k.tensor(Int32Array.from(lossMask), shape),
      reduction: 'sum',
    });
    totals.loss += loss.data[0];
    return tape.backward(loss, k.tensor([1 / scored]));
  });
}

/** One step. Throws before anything is changed. @param saved the step of the last checkpoint */
export function oneStep(
  model: LanguageModel,
  optimizer: Optimizer,
  batches: readonly TrainingBatch[],
  step: number,
  { schedule, maxGradientNorm, gradientCheckpointing }: StepOptions,
  saved: number | undefined,
): StepResult {
  const { k } = model;
  const scored = batches.reduce((sum, batch) => sum + countScored(batch), 0);
  if (scored === 0) {
    throw new ArgumentError(`train: lossMask of step ${step} must be 1 somewhere, got no scored token`);
  }
  return k.scope(() => {
    const totals: Totals = { loss: 0, correct: 0 };
    const backward = (batch: TrainingBatch) =>
      gradientsOf(model, batch, scored, gradientCheckpointing, totals);
    const gradients = backward(batches[0]);
    for (const batch of batches.slice(1)) {
      for (const [tensor, source] of backward(batch)) {
        k.accumulate({ target: gradients.get(tensor)!, source });
        source.dispose();
      }
    }
    // In the order of the model, not of the tape: sums then have the same bits with gradient checkpointing.
    const tensors = [...model.parameters().values()].flatMap((tensor) => gradients.get(tensor) ?? []);
    const gradientNorm =
      maxGradientNorm === Infinity
        ? k.globalNorm({ tensors })
        : k.clipGradNorm({ tensors, maxNorm: maxGradientNorm });
    const loss = totals.loss / scored;
    for (const [name, value] of Object.entries({ loss, 'norm of the gradient': gradientNorm })) {
      if (Number.isFinite(value)) continue;
      const last = saved === undefined ? 'there is no checkpoint' : `the last checkpoint is of step ${saved}`;
      throw new FreelunchError(`train: the ${name} of step ${step} is ${value}; ${last}`);
    }
    const learningRate = schedule(step);
    optimizer.update(gradients, learningRate);
    return { step, loss, accuracy: totals.correct / scored, gradientNorm, learningRate };
  });
}
