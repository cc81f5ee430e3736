import { number } from '../fields.js';
import { architecture, fileOf, type Writer } from './architecture.js';
import { mambaConfig, mambaFields, mambaFile, mambaMixerFile, onlyMambas } from './mamba.js';

const fields = { ...mambaFields, mixer_rms_eps: number(1e-6) };

/** Falcon Mamba (TII 2024, arXiv:2410.05355): Mamba with RMS norms of delta, B and C that have no weights. */
export const falconMamba = architecture({
  type: 'falcon_mamba',
  classes: ['FalconMambaForCausalLM'],
  fields,
  toConfig: (f, place) => mambaConfig(f, place, { innerNorms: 'unweighted', innerNormEps: f.mixer_rms_eps }),
});

export const writeFalconMamba: Writer = (config) =>
  fileOf(falconMamba, config, (layer) => {
    const { mixer } = layer;
    if (mixer.type !== 'mamba' || !onlyMambas(config, layer)) return undefined;
    return {
      ...mambaMixerFile(mixer),
      mixer_rms_eps: mixer.innerNormEps,
      ...mambaFile(config, mixer.dInner),
    };
  });
