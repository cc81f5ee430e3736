import { flag, layerTypes, whole } from '../fields.js';
import { limits } from '../limits.js';
import { architecture, fileOfLayers, isAlike, type Writer } from './architecture.js';
import { llamaAttention, llamaConfig, llamaFields, llamaFile } from './llama.js';

const fields = {
  ...llamaFields,
  vocab_size: whole(151936),
  intermediate_size: whole(22016),
  num_key_value_heads: whole(32),
  use_sliding_window: flag(false),
  sliding_window: whole(4096),
  max_window_layers: whole(28), // the first layer with a window
  layer_types: layerTypes('full_attention', 'sliding_attention'), // wins over max_window_layers
};

/** Qwen2 (Yang et al. 2024, arXiv:2407.10671): Llama with biases of q, k and v, and a window in the upper layers. */
export const qwen2 = architecture({
  type: 'qwen2',
  classes: ['Qwen2ForCausalLM'],
  fields,
  toConfig(f, place) {
    const full = llamaAttention(f, { qkvBias: true });
    const sliding = { ...full, window: f.sliding_window };
    const isSliding = (layer: number) =>
      f.use_sliding_window &&
      (f.layer_types === undefined
        ? layer >= f.max_window_layers
        : f.layer_types[layer] === 'sliding_attention');
    const nLayers = f.num_hidden_layers;
    const slides = Array.from({ length: Math.min(nLayers, limits.nLayers) }, (_, layer) => isSliding(layer));
    if (f.layer_types !== undefined && f.layer_types.length !== nLayers)
      place('layer_types').bad(`one for each of the ${nLayers} layers`);
    const alike = slides.every((one) => one === slides[0]);
    return llamaConfig(
      f,
      place,
      alike ? (slides[0] ? sliding : full) : slides.map((slide) => (slide ? sliding : full)),
    );
  },
});

export const writeQwen2: Writer = (config) => {
  const { mixers, mlps } = config;
  const [mixer] = mixers;
  const file = isAlike(mlps) ? llamaFile(config, { mixer, mlp: mlps[0] }) : undefined;
  if (file === undefined) return undefined;
  const windows = mixers.map((one) => (one.type === 'softmax-attention' ? one.window : undefined));
  const window = windows.find((one) => one !== undefined);
  const { head_dim: _, ...others } = file; // hidden_size / num_attention_heads
  return fileOfLayers(qwen2, {
    ...others,
    use_sliding_window: window !== undefined,
    ...(window !== undefined && {
      sliding_window: window,
      layer_types: windows.map((one) => (one === undefined ? 'full_attention' : 'sliding_attention')),
    }),
  });
};
