// Written by scripts/bundle-worker.mjs: the text of worker.js.
export const workerSource: string;
