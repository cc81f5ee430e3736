/** Tests of a model, teacher-forced: each token is predicted from the right ones before it. */
import type { LanguageModel } from '@freelunch/models';
import { type Batch, BatchStream, type Sampler, type Task } from '@freelunch/tasks';

/** Each token is right if it is the likeliest. */
export interface TestResult {
  /** Share of the samples all of whose scored tokens are the likeliest: what greedy writing gets wholly right. */
  exact: number;
  /** Share of the scored tokens. */
  tokens: number;
}

export interface PlaceResult {
  /** Among the scored tokens of a sample, from 0. */
  place: number;
  /** Tokens back to the earliest that it needs; 0 if it needs none. */
  distance: number;
  accuracy: number;
}

const TEST_BATCH = 32;

/** `count` samples of a task, the same ones at every call. */
export function fixedBatches(task: Sampler, count: number, seed: number): Batch[] {
  const batches: Batch[] = [];
  let stream = new BatchStream(task, { batchSize: Math.min(TEST_BATCH, count), seed });
  for (let left = count; left > 0; left -= TEST_BATCH) {
    if (left < TEST_BATCH && batches.length > 0)
      stream = new BatchStream(task, { batchSize: left, state: stream.state });
    batches.push(stream.next().value);
  }
  return batches;
}

/** Mean cross-entropy of the scored tokens, in nats. */
export function lossOf(model: LanguageModel, batches: readonly Batch[]): number {
  const { k } = model;
  let total = 0;
  let scored = 0;
  for (const { inputs, targets, lossMask, batchSize, seqLen } of batches) {
    k.scope(() => {
      const shape = [batchSize, seqLen];
      const logits = model.forward(k.tensor(inputs, shape));
      const mask = k.tensor(Int32Array.from(lossMask), shape);
      const { loss } = k.crossEntropy({
        logits,
        targets: k.tensor(targets, shape),
        mask,
        reduction: 'sum',
      });
      total += loss.data[0];
    });
    for (const each of lossMask) scored += each;
  }
  return total / scored;
}

interface Counted {
  result: TestResult;
  places: PlaceResult[];
}

/** Tests a model on fixed batches, teacher-forced, token by token the likeliest. */
export function testModel(model: LanguageModel, task: Task, batches: readonly Batch[]): Counted {
  const { k } = model;
  const { vocabSize } = model.config;
  const shift = task.alignment === 'same' ? 0 : 1;
  const right: number[] = [];
  const seen: number[] = [];
  const distances: number[] = [];
  let exact = 0;
  let samples = 0;
  for (const { inputs, targets, lossMask, batchSize, seqLen, samples: texts } of batches) {
    const logits = k.scope(() => model.forward(k.tensor(inputs, [batchSize, seqLen])).toArray());
    for (let b = 0; b < batchSize; b++) {
      const away = task.distances(texts[b]);
      let place = 0;
      let whole = true;
      for (let i = 0; i < seqLen; i++) {
        const at = b * seqLen + i;
        if (lossMask[at] === 0) continue;
        let best = at * vocabSize;
        for (let v = best + 1; v < (at + 1) * vocabSize; v++) if (logits[v] > logits[best]) best = v;
        const good = best - at * vocabSize === targets[at];
        right[place] = (right[place] ?? 0) + (good ? 1 : 0);
        seen[place] = (seen[place] ?? 0) + 1;
        distances[place] = (distances[place] ?? 0) + away[i + shift];
        if (!good) whole = false;
        place++;
      }
      if (whole) exact++;
      samples++;
    }
  }
  const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);
  return {
    result: { exact: exact / samples, tokens: sum(right) / sum(seen) },
    places: right.map((count, place) => ({
      place,
      distance: distances[place] / seen[place],
      accuracy: count / seen[place],
    })),
  };
}
