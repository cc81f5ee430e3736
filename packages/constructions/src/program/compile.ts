/**
 * A {@link Program} as an ordinary model of @freelunch/models: the config, then the weights.
 *
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import { createModel, type LanguageModel, type MlpConfig, type ModelConfig } from '@freelunch/models';
import { type LookUpMixer, type LookUpOptions, type MixerPlan, planners } from './look-ups.js';
import { bitOf, codeBits, Expr, MISSING, type Program, type ProgramBlock } from './program.js';
import { type Half, linearRow, Matrix, type Sizes, type Weights } from './weights.js';

export interface CompileOptions extends LookUpOptions {
  mixer: LookUpMixer;
  /** The id of the next token: a number that may be off by less than 1/2, or its bits, in proportion to +1 and -1. */
  output: Expr | readonly Expr[];
  /** Softmax attention sees only so many tokens, its own among them. */
  window?: number;
  /** Softmax attention: the match wins by e^(2 beta); 12 if absent. */
  beta?: number;
}

/** A model before it has weights: what it will be, and what it will take. */
export interface Plan {
  config: ModelConfig;
  parameters: number;
  /** Floats kept between steps after `length` tokens: state, or keys and values; without room for more. */
  floatsKept(length: number): number;
  /** Makes the model. */
  build(k: Kernels): LanguageModel;
}

/** Widths are multiples of what kernels take at a time. */
export const WIDTH_STEP = 4;
/** Most ids that {@link nearestId} tells apart in float32: its logits are squares of them. */
export const NUMBERED = 2048;

const nothing: MixerPlan = {
  config: { type: 'none' },
  parameters: 0,
  floatsKept: () => 0,
  write: () => {},
};

/** Plans the model of a program. @throws ArgumentError if an option does not fit */
export function compile(program: Program, options: CompileOptions): Plan {
  checkOptions('compile', options, ['mixer', 'output', 'window', 'beta']);
  const { output, mixer, window, beta } = options;
  if (!Object.hasOwn(planners, mixer))
    throw new ArgumentError(
      `compile: mixer must be one of ${Object.keys(planners).join(', ')}, got '${String(mixer)}'`,
    );
  if (window !== undefined && mixer !== 'softmax-attention')
    throw new ArgumentError(`compile: window must be absent for ${mixer}, got ${window}`);
  if (window !== undefined && (!Number.isSafeInteger(window) || window < 1))
    throw new ArgumentError(`compile: window must be a whole number from 1 up, got ${window}`);
  if (beta !== undefined && !(beta > 0 && beta < Infinity))
    throw new ArgumentError(`compile: beta must be a finite number above 0, got ${beta}`);
  if (mixer === 'mamba2') checkBits(program);
  const { vocabSize, length } = program;
  if (output instanceof Expr && vocabSize > NUMBERED)
    throw new ArgumentError(
      `compile: output must be bits where the vocabulary has more than ${NUMBERED} tokens, got a number for ${vocabSize}`,
    );
  if (!(output instanceof Expr) && output.length < codeBits(vocabSize))
    throw new ArgumentError(
      `compile: output must be at least ${codeBits(vocabSize)} bits for ${vocabSize} tokens, got ${output.length}`,
    );
  const dModel = Math.ceil(program.width / WIDTH_STEP) * WIDTH_STEP;
  const [one] = program.one.terms.keys();
  const sizes: Sizes = { dModel, one };
  const blocks = program.blocks.length > 0 ? program.blocks : [{ lookUps: [], nodes: [] }];
  const mixers = blocks.map(({ lookUps }) =>
    lookUps.length === 0 ? nothing : planners[mixer](lookUps, sizes, options),
  );
  const mlps = blocks.map((block) => planMlp(block, sizes));
  const config: ModelConfig = {
    vocabSize,
    dModel,
    nLayers: blocks.length,
    mixer: mixers.map((plan) => plan.config),
    mlp: mlps.map((plan) => plan.config),
    norm: 'none',
    position: { type: 'learned', maxLength: length },
    tieEmbeddings: false,
    naming: 'mamba',
  };
  const halves: Half[] = [...mixers, ...mlps];
  return {
    config,
    parameters: halves.reduce((sum, { parameters }) => sum + parameters, (2 * vocabSize + length) * dModel),
    floatsKept: (tokens) => halves.reduce((sum, half) => sum + half.floatsKept(tokens), 0),
    build(k) {
      const weights: Weights = new Map([
        ['backbone.embeddings.weight', table(vocabSize, dModel, program.tokenColumns)],
        ['backbone.position_embeddings.weight', table(length, dModel, program.positionColumns)],
        [
          'lm_head.weight',
          output instanceof Expr ? nearestId(vocabSize, output, sizes) : matchingId(vocabSize, output, sizes),
        ],
      ]);
      mixers.forEach((plan, i) => plan.write(weights, `backbone.layers.${i}.mixer.`));
      mlps.forEach((plan, i) => plan.write(weights, `backbone.layers.${i}.mlp.`));
      return withWeights(k, config, weights);
    },
  };
}

/** A model of the config whose weights are these, all of them. */
export function withWeights(k: Kernels, config: ModelConfig, weights: Weights): LanguageModel {
  const model = createModel(k, config);
  const parameters = model.parameters();
  for (const [name, tensor] of parameters) {
    const data = weights.get(name);
    if (data?.length !== tensor.size)
      throw new Error(`weights of ${name} must be ${tensor.size} numbers, got ${data?.length ?? 'none'}`);
    tensor.data.set(data);
  }
  return model;
}

function table(rows: number, columns: number, filled: ReadonlyMap<number, Float64Array>): Float32Array {
  const data = new Float32Array(rows * columns);
  for (const [channel, column] of filled)
    for (let row = 0; row < rows; row++) data[row * columns + channel] = column[row];
  return data;
}

/** Logits c (2 x - c), c = id - middle, x = output - middle: greatest for the id nearest to the output. */
function nearestId(vocabSize: number, output: Expr, { dModel, one }: Sizes): Float32Array {
  const head = new Matrix(vocabSize, dModel);
  const middle = vocabSize >> 1;
  const centred = output.minus(middle);
  for (let id = 0; id < vocabSize; id++) {
    const code = id - middle;
    const row = head.row(id);
    linearRow(row, centred, one, 2 * code);
    row[one] -= code * code;
  }
  return head.data;
}

/** Logits sum_i +-bit_i: greatest for the id whose bits have the signs of the output. */
function matchingId(vocabSize: number, output: readonly Expr[], { dModel, one }: Sizes): Float32Array {
  const head = new Matrix(vocabSize, dModel);
  for (let id = 0; id < vocabSize; id++)
    output.forEach((bit, i) => linearRow(head.row(id), bit, one, bitOf(id, i)));
  return head.data;
}

function checkBits(program: Program): void {
  for (const { lookUps } of program.blocks) {
    for (const { name, values } of lookUps) {
      for (const value of values) {
        const [least, greatest] = program.range(value);
        const copied = least === MISSING; // what other look-ups found
        if ((least < -1 && !copied) || greatest > 1)
          throw new ArgumentError(
            `compile: values of ${name} must be +1 or -1 for mamba2, got numbers from ${least} to ${greatest}`,
          );
      }
    }
  }
}

/** Nodes as fc1, relu, fc2: equal hidden units are one. */
function planMlp({ lookUps, nodes }: ProgramBlock, { dModel, one }: Sizes): Half & { config: MlpConfig } {
  if (nodes.length === 0 && lookUps.length > 0)
    return { config: { type: 'none' }, parameters: 0, floatsKept: () => 0, write: () => {} };
  const units = new Map<string, { of: Expr; outputs: Map<number, number> }>();
  for (const { channel, relus } of nodes) {
    for (const { weight, of } of relus) {
      const { key } = of;
      let unit = units.get(key);
      if (unit === undefined) units.set(key, (unit = { of, outputs: new Map() }));
      unit.outputs.set(channel, (unit.outputs.get(channel) ?? 0) + weight);
    }
  }
  const dHidden = Math.max(1, units.size); // a layer must have something
  return {
    config: { type: 'relu', dHidden, bias: false },
    parameters: 2 * dHidden * dModel,
    floatsKept: () => 0,
    write(weights, prefix) {
      const fc1 = new Matrix(dHidden, dModel);
      const fc2 = new Matrix(dModel, dHidden);
      let hidden = 0;
      for (const { of, outputs } of units.values()) {
        linearRow(fc1.row(hidden), of, one);
        for (const [channel, weight] of outputs) fc2.row(channel)[hidden] = weight;
        hidden++;
      }
      weights.set(`${prefix}fc1.weight`, fc1.data);
      weights.set(`${prefix}fc2.weight`, fc2.data);
    },
  };
}
