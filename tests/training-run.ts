import type { Kernels, Variant } from '@freelunch/kernels';
import {
  createModel,
  type MixerConfig,
  type ModelConfig,
  train,
  type TrainingBatch,
} from '@freelunch/models';
import { cosine } from '@freelunch/autograd';
import { random } from '@freelunch/random';

declare module 'vitest' {
  export interface ProvidedContext {
    nodeTraining: string[][];
  }
}

export const STEPS = 50;
export const variant: Variant = 'simd';

const mixers: MixerConfig[] = [
  { type: 'mamba', dState: 5 },
  { type: 'mamba2', headDim: 8, dState: 8 },
  { type: 'mamba3', headDim: 8, dState: 8, mimo: true, nRanks: 2 },
  { type: 'linear-attention', nHeads: 2, forget: 'channel' },
  { type: 'delta-rule', nHeads: 2, gated: true },
  { type: 'softmax-attention', nHeads: 2 },
];

/** One small model a mixer, with parts that between them use every kernel of training. */
export const configs: ModelConfig[] = mixers.map((mixer, i) => ({
  vocabSize: 11,
  dModel: 16,
  nLayers: 2,
  mixer,
  mlp: i % 2 === 0 ? 'gelu' : 'swiglu',
  norm: i % 2 === 0 ? 'rms' : 'layer',
  position: mixer.type === 'softmax-attention' ? 'rope' : 'none',
  seed: i,
}));

/** Walks in which each token is twice the one before it, or one more: a loss of ln 2 is left to chance. */
export function batches(state: { position: number } = { position: 0 }) {
  let { position } = state;
  return {
    get state() {
      return { position };
    },
    next(): IteratorResult<TrainingBatch> {
      const rng = random(5).split(position++);
      const [batchSize, seqLen] = [4, 21];
      const inputs = new Int32Array(batchSize * seqLen);
      const targets = new Int32Array(batchSize * seqLen);
      for (let b = 0; b < batchSize; b++) {
        let token = rng.integer(11);
        for (let i = b * seqLen; i < (b + 1) * seqLen; i++) {
          inputs[i] = token;
          token = (2 * token + rng.integer(2)) % 11;
          targets[i] = token;
        }
      }
      const lossMask = Uint8Array.from(inputs, (_id, i) => Number(i % seqLen >= 2));
      return { done: false, value: { inputs, targets, lossMask, batchSize, seqLen } };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

export const learningRate = cosine({ peak: 0.01, warmupSteps: 10, totalSteps: STEPS, floor: 0.001 });

/** Losses and gradient norms of every step, and tokens drawn from the trained model: all with all their digits. */
export async function trainingRun(k: Kernels, config: ModelConfig): Promise<string[]> {
  const model = createModel(k, config);
  const seen: string[] = [];
  try {
    for await (const { loss, gradientNorm } of train(model, batches(), { steps: STEPS, learningRate }))
      seen.push(`${loss} ${gradientNorm}`);
    const tokens: number[] = [];
    for await (const token of model.generate([1, 2, 3], {
      maxTokens: 30,
      temperature: 1.2,
      topP: 0.95,
      seed: 4,
    }))
      tokens.push(token);
    return [...seen, tokens.join(' ')];
  } finally {
    model.dispose();
  }
}

export async function trainingRuns(k: Kernels): Promise<string[][]> {
  const runs: string[][] = [];
  for (const config of configs) runs.push(await trainingRun(k, config));
  return runs;
}
