import { number } from '../fields.js';
import { architecture } from './architecture.js';
import { mambaConfig, mambaFields } from './mamba.js';

const fields = { ...mambaFields, mixer_rms_eps: number(1e-6) };

/** Falcon Mamba (TII 2024, arXiv:2410.05355): Mamba with RMS norms of delta, B and C that have no weights. */
export const falconMamba = architecture({
  type: 'falcon_mamba',
  classes: ['FalconMambaForCausalLM'],
  fields,
  toConfig: (f, place) => mambaConfig(f, place, { innerNorms: 'unweighted', innerNormEps: f.mixer_rms_eps }),
});
