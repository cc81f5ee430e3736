// Tokens a second of batches on one core, and memory over ten million tokens. Run with --expose-gc.
import { createTask } from '../dist/index.js';

const rows = [
  ['copy', {}],
  ['copy', { length: 100 }],
  ['reverse-copy', {}],
  ['ngram-lookup', {}],
  ['mqar', {}],
  ['mqar', { seqLen: 512, pairs: 64, randomFiller: true }],
  ['in-context-recall', {}],
  ['fuzzy-recall', {}],
  ['phone-book', {}],
  ['arithmetic', { length: 6 }],
  ['equation', { length: 5 }],
  ['lis', { length: 100 }],
  ['lis', { length: 30, states: 'pairs' }],
  ['edit-distance', { length: 20 }],
  ['edit-distance', { length: 20, costs: 'reference', inputs: 'inline' }],
  ['lcs', {}],
  ['knapsack', {}],
  ['matrix-chain', { length: 8 }],
  ['cyk', { length: 8 }],
  ['recurrence', {}],
  ['prefix-sum', {}],
  ['layered-path', {}],
  ['word-problem', {}],
];

const inMB = (bytes) => (bytes / 2 ** 20).toFixed(1);
for (const [name, options] of rows) {
  const stream = createTask(name, options).batches({ batchSize: 32, seed: 1 });
  const speeds = [];
  for (let pass = 0; pass < 7; pass++) {
    const start = performance.now();
    let tokens = 0;
    while (performance.now() - start < 200)
      for (const length of stream.next().value.lengths) tokens += length;
    speeds.push(tokens / (performance.now() - start) / 1000);
  }
  speeds.sort((a, b) => a - b);
  console.log(
    `${`${name} ${JSON.stringify(options)}`.padEnd(70)} median ${speeds[3].toFixed(2)}  best ${speeds[6].toFixed(2)} million tokens/s`,
  );
}

for (const name of ['copy', 'mqar', 'edit-distance']) {
  const stream = createTask(name).batches({ batchSize: 32, seed: 1 });
  const used = [];
  let tokens = 0;
  for (let part = 1; part <= 5; part++) {
    while (tokens < part * 2e6) for (const length of stream.next().value.lengths) tokens += length;
    globalThis.gc?.();
    used.push(inMB(process.memoryUsage().heapUsed));
  }
  console.log(`${name}: heap in MB after 2, 4, .. 10 million tokens: ${used.join(', ')}`);
}
