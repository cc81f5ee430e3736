import { flag, layerTypes, type Place, type Values, whole } from '../fields.js';
import { limits } from '../limits.js';
import type { ModelConfig, ResolvedConfig, SoftmaxAttentionConfig } from '../types.js';
import { architecture, type Architecture, fileOfLayers, isAlike, type Writer } from './architecture.js';
import { llamaAttention, llamaConfig, llamaFields, llamaFile } from './llama.js';

/** A window in some layers. */
export const sliding = {
  use_sliding_window: flag(false),
  sliding_window: whole(4096),
  max_window_layers: whole(28), // the first layer with a window
  layer_types: layerTypes('full_attention', 'sliding_attention'), // wins over max_window_layers
};

/** The attention of every layer. */
export function slidingMixers(
  f: Values<typeof sliding> & { readonly num_hidden_layers: number },
  place: (name: 'layer_types') => Place,
  full: SoftmaxAttentionConfig,
): ModelConfig['mixer'] {
  const windowed = { ...full, window: f.sliding_window };
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
  return alike ? (slides[0] ? windowed : full) : slides.map((slide) => (slide ? windowed : full));
}

/** The reverse: a file of an architecture of Qwen. @param more what it says of a layer beside what Llama does */
export function slidingFile(
  form: Architecture,
  config: ResolvedConfig,
  more: (mixer: SoftmaxAttentionConfig) => object,
) {
  const [mixer] = config.mixers;
  const [mlp] = config.mlps;
  const file = llamaFile(config, { mixer, mlp });
  const windows = config.mixers.map((one) => (one.type === 'softmax-attention' ? one.window : undefined));
  const others = config.mixers.map((one) => ({ ...one, window: undefined }));
  if (file === undefined || mixer.type !== 'softmax-attention' || !isAlike(others) || !isAlike(config.mlps))
    return undefined;
  const window = windows.find((one) => one !== undefined);
  const first = windows.findIndex((one) => one !== undefined);
  const above = windows.every((one, layer) => (one !== undefined) === layer >= first);
  const slides = {
    use_sliding_window: true,
    sliding_window: window,
    max_window_layers: first,
    ...(!above && {
      layer_types: windows.map((one) => (one === undefined ? 'full_attention' : 'sliding_attention')),
    }),
  };
  return fileOfLayers(form, {
    ...file,
    ...more(mixer),
    ...(window === undefined ? { use_sliding_window: false } : slides),
  });
}

const fields = {
  ...llamaFields,
  vocab_size: whole(151936),
  intermediate_size: whole(22016),
  num_key_value_heads: whole(32),
  ...sliding,
};

/** Qwen2 (Yang et al. 2024, arXiv:2407.10671): Llama with biases of q, k and v, and a window in the upper layers. */
export const qwen2 = architecture({
  type: 'qwen2',
  classes: ['Qwen2ForCausalLM'],
  fields,
  toConfig: (f, place) =>
    llamaConfig(f, place, slidingMixers(f, place, llamaAttention(f, { qkvBias: true }))),
});

export const writeQwen2: Writer = (config) => slidingFile(qwen2, config, () => ({}));
