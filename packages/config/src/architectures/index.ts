/** All architectures that config.json can describe. A new one is one file, and its name here. */
import type { Architecture, Writer } from './architecture.js';
import { bamba, writeBamba } from './bamba.js';
import { falconMamba, writeFalconMamba } from './falcon_mamba.js';
import { gpt2, writeGpt2 } from './gpt2.js';
import { graniteHybrid, writeGraniteHybrid } from './granitemoehybrid.js';
import { jamba, writeJamba } from './jamba.js';
import { falconH1, writeFalconH1 } from './falcon_h1.js';
import { lfm2, writeLfm2 } from './lfm2.js';
import { llama, writeLlama } from './llama.js';
import { mamba, writeMamba } from './mamba.js';
import { mamba2, writeMamba2 } from './mamba2.js';
import { mambaSsm, writeMambaSsm } from './mamba_ssm.js';
import { mistral, writeMistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { nemotronH, writeNemotronH } from './nemotron_h.js';
import { qwen2, writeQwen2 } from './qwen2.js';
import { qwen3, writeQwen3 } from './qwen3.js';
import { qwen35, qwen35Text, writeQwen35, writeQwen35Text } from './qwen3_5.js';
import { qwen3Next, writeQwen3Next } from './qwen3_next.js';
import { writeZamba2, zamba2 } from './zamba2.js';

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
  qwen3,
  qwen3Next,
  qwen35Text,
  qwen35,
  lfm2,
  falconH1,
  zamba2,
  jamba,
  bamba,
  graniteHybrid,
  nemotronH,
];

/** Those that can be written, in the order in which they are tried. */
export const writers: readonly Writer[] = [
  writeMamba,
  writeMamba2,
  writeFalconMamba,
  writeGpt2,
  writeLlama,
  writeMistral,
  writeQwen2,
  writeJamba,
  writeQwen3,
  writeQwen3Next,
  writeQwen35Text,
  writeQwen35,
  writeLfm2,
  writeFalconH1,
  writeZamba2,
  writeMambaSsm,
  writeBamba,
  writeGraniteHybrid,
  writeNemotronH,
];
