/** All architectures that config.json can describe. A new one is one file, and its name here. */
import type { Architecture, Writer } from './architecture.js';
import { falconMamba, writeFalconMamba } from './falcon_mamba.js';
import { gpt2, writeGpt2 } from './gpt2.js';
import { jamba, writeJamba } from './jamba.js';
import { llama, writeLlama } from './llama.js';
import { mamba, writeMamba } from './mamba.js';
import { mamba2, writeMamba2 } from './mamba2.js';
import { mambaSsm, writeMambaSsm } from './mamba_ssm.js';
import { mistral, writeMistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { qwen2, writeQwen2 } from './qwen2.js';

export const published: readonly Architecture[] = [
  mamba,
  mamba2,
  falconMamba,
  mambaSsm,
  gpt2,
  llama,
  mistral,
  mixtral,
  qwen2,
  jamba,
];

/** Those that can be written, in the order in which they are tried. */
export const writers: readonly Writer[] = [
  writeMamba,
  writeMamba2,
  writeFalconMamba,
  writeMambaSsm,
  writeGpt2,
  writeLlama,
  writeMistral,
  writeQwen2,
  writeJamba,
];
