/** COPY on a text: its tokens are stored through each construction and read back; what comes back is counted and shown. */
import {
  copyAddressed,
  copyLinearAttention,
  type CopyMixer,
  copyPrice,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  decode,
  encode,
  informationBits,
  predictAccuracy,
  randomUnitKeys,
  welchBound,
} from '@freelunch/constructions';
import type { Kernels, Tensor } from '@freelunch/kernels';
import { coherence, fractionRight, LARGEST_SIZE, round } from '../copy/measures.js';
import { checksOf } from '../experiments/check.js';
import { type Experiment, pause, type Piece } from '../experiments/experiment.js';
import { copyWay, copyWays } from '../mixers.js';
import { statistics } from '../report/statistics.js';
import { copyTextFindings } from './findings.js';
import {
  builtInText,
  codesOf,
  type CopyTextConfig,
  copyTextConfig,
  type CopyTextRow,
  materialsOf,
} from './config.js';

interface CopyTextPiece extends Piece {
  mixer: CopyMixer;
  length: number;
  state: number | null;
  config: CopyTextConfig;
}

/** Multiplications that measuring the coherence may take. */
const COHERENCE_LIMIT = 2 ** 31;

export const copyText: Experiment<CopyTextConfig, CopyTextPiece, CopyTextRow> = {
  name: 'copy-text',
  summary: 'What does a memory of fixed size keep of a text?',
  claims: ['C1', 'C2', 'C4'],
  presets: {
    quick: copyTextConfig(builtInText(), { lengths: [64, 256], states: [16, 64, 256, 512], draws: 4 }),
    full: copyTextConfig(builtInText()),
  },

  pieces(config) {
    const { kind, textLength, lengths, states, dValue, draws, seed } = config;
    const { whole, among, once, each } = checksOf('copy-text');
    among('kind', [kind], ['characters', 'bytes']);
    const [vocabulary, tokens] = [codesOf(config.vocabulary), codesOf(config.text)];
    whole('vocabulary', vocabulary, 0, kind === 'bytes' ? 255 : 0x10ffff);
    each(
      'vocabulary',
      [vocabulary],
      ({ length }) => length <= LARGEST_SIZE,
      `at most ${LARGEST_SIZE} symbols`,
    );
    once('vocabulary', Array.from(config.vocabulary));
    const symbols = new Set(vocabulary);
    each(
      'text',
      Array.from(config.text),
      (symbol) => symbols.has(symbol.codePointAt(0)!),
      'spelt with its vocabulary',
    );
    whole('textLength', textLength, tokens.length, Number.MAX_SAFE_INTEGER);
    whole('lengths', lengths, 1, Math.min(LARGEST_SIZE, tokens.length));
    whole('states', states, 1, LARGEST_SIZE);
    once('lengths', lengths);
    once('states', states);
    whole('dValue', dValue, Math.ceil(Math.log2(symbols.size)), 256);
    whole('dValue', dValue, 1, 256);
    whole('draws', draws, 1, 10000);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    const piece = (mixer: CopyMixer, length: number, state: number | null): CopyTextPiece => ({
      key: `T=${length}${state === null ? '' : ` N=${state}`} ${mixer}`,
      mixer,
      length,
      state,
      config,
    });
    return lengths.flatMap((length) => [
      ...states.flatMap((state) =>
        copyWays
          .filter(({ mixer }) => mixer !== 'softmaxAttention')
          .map(({ mixer }) => piece(mixer, length, state)),
      ),
      piece('softmaxAttention', length, null),
    ]);
  },

  async run({ mixer, length, state, config }, context) {
    const { dValue } = config;
    const { k } = context;
    const { codebook, keyStream, tokens } = materialsOf(config, length);
    const slots = state ?? length;
    const randomKeys = mixer === 'linearAttention' || mixer === 'selectiveScan';
    const keysOf = (draw: number) =>
      randomUnitKeys(k, keyStream.split(`${mixer} ${length} ${state} ${draw}`), length, slots);
    const draws = randomKeys ? config.draws : 1;
    const accuracies: number[] = [];
    let remembered: number[] = [];
    for (let draw = 0; draw < draws; draw++) {
      await pause(context, draw / draws, `${copyWay(mixer).label}: ${length} ${config.kind}`);
      const symbols = k.scope(() => {
        const values = encode(k, tokens, codebook, dValue);
        return decode(
          readBack(k, mixer, values, slots, () => keysOf(draw)),
          codebook,
        );
      });
      accuracies.push(fractionRight(symbols, tokens));
      if (draw === 0) remembered = Array.from(symbols);
    }
    const { mean, standardError } = statistics(accuracies);
    const measurable = mixer === 'linearAttention' && length * length * slots <= COHERENCE_LIMIT;
    return {
      mixer,
      construction: copyWay(mixer).construction,
      length,
      state,
      draws,
      accuracy: round(mean),
      standardError: round(standardError),
      predicted: round(
        randomKeys ? predictAccuracy({ codebook, dValue, tokens })(slots) : Math.min(1, slots / length),
      ),
      ...copyPrice({ mixer, seqLen: length, reads: length, dValue, slots }),
      welch: state === null ? null : round(welchBound(length, state)),
      coherence: measurable ? round(k.scope(() => coherence(k, keysOf(0)))) : null,
      informationBits: round(informationBits(length, codesOf(config.vocabulary).length)),
      stateBits: state === null ? null : state * dValue * 32,
      remembered,
    };
  },

  findings: copyTextFindings,
};

/** Values stored one after the other and all read back. */
function readBack(
  k: Kernels,
  mixer: CopyMixer,
  values: Tensor<'float32'>,
  slots: number,
  keys: () => Tensor<'float32'>,
): Tensor<'float32'> {
  switch (mixer) {
    case 'linearAttention':
      return copyLinearAttention(k, { values, keys: keys() });
    case 'selectiveScan':
      return copySelectiveScan(k, { values, keys: keys() });
    case 'addressed':
      return copyAddressed(k, { values, dState: slots });
    case 'registerFile':
      return copyRegisterFile(k, { values, slots });
    case 'softmaxAttention':
      return copySoftmaxAttention(k, { values });
  }
}
