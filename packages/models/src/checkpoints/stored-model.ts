/** A model as files have it: the text of config.json, and the tensors of its weights. */
import { formatJson, type StoredDType, writeConfig } from '@freelunch/config';
import { type Kernels, QuantizedTensor } from '@freelunch/kernels';
import { internalsOf, readRows } from '@freelunch/kernels/internals';
import type { LanguageModel } from '../language-model.js';
import type { ParameterSpec, Weight } from '../mixers/parameters.js';
import { layouts } from './architectures/index.js';
import { type FileTensor, fileTensors, isWhole } from './layout.js';
import { elementChunks, type SaveOptions, storedTensor, type StoredTensor } from './safetensors.js';
import { shapeInFile } from './weights.js';

type FloatDType = NonNullable<SaveOptions['dtype']>;

const PIECE_BYTES = 2 ** 22;
const fileDTypes = { float16: 'F16', bfloat16: 'BF16', int8: 'U8', int4: 'U8' } as const;

/** A quantised matrix as it lies in a file: half floats as others have them, blocks as bytes. */
function storedMatrix(k: Kernels, spec: ParameterSpec, matrix: QuantizedTensor): StoredTensor {
  const [rows] = matrix.shape;
  const dtype = fileDTypes[matrix.dtype];
  const across = spec.matrix === 'in-out' && dtype !== 'U8';
  const most = Math.max(1, Math.floor(PIECE_BYTES / (matrix.bytes / rows)));
  function* pieces() {
    for (let first = 0; first < rows; first += most)
      yield readRows(internalsOf(k), matrix, first, Math.min(most, rows - first));
  }
  return {
    name: spec.name,
    dtype,
    shape: shapeInFile(spec, matrix.dtype),
    chunks: across ? () => [acrossHalves(matrix)] : pieces,
  };
}

/** Half floats of `[out, in]` as `[in, out]`. */
function acrossHalves(matrix: QuantizedTensor): Uint8Array<ArrayBuffer> {
  const [rows, columns] = matrix.shape;
  const from = new Uint16Array(matrix.toBytes().buffer);
  const to = new Uint16Array(from.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
  return new Uint8Array(to.buffer);
}

function storedWeight(k: Kernels, spec: ParameterSpec, weight: Weight, dtype: FloatDType): StoredTensor {
  return weight instanceof QuantizedTensor
    ? storedMatrix(k, spec, weight)
    : storedTensor(spec.name, weight, dtype);
}

/** The dtype of a tensor that holds several parameters: that of the file, or the half floats that all of them have. */
function dtypeOfPacked({ pieces }: FileTensor, weights: ReadonlyMap<string, Weight>, dtype: FloatDType) {
  const dtypes = pieces.map(({ spec }) => weights.get(spec.name)!.dtype);
  const [first] = dtypes;
  const alike = dtypes.every((one) => one === first);
  return alike && (first === 'float16' || first === 'bfloat16') ? fileDTypes[first] : dtype;
}

/** Several parameters as one tensor. None is in blocks. */
function storedPacked(
  k: Kernels,
  tensor: FileTensor,
  weights: ReadonlyMap<string, Weight>,
  dtype: FloatDType,
): StoredTensor {
  const stored = dtypeOfPacked(tensor, weights, dtype);
  function* chunks(): Generator<Uint8Array<ArrayBuffer>> {
    for (const { spec, from, count } of tensor.pieces) {
      const weight = weights.get(spec.name)!;
      const width = weight.size / weight.shape[0];
      const most = Math.max(1, Math.floor(PIECE_BYTES / (4 * width)));
      for (let first = from; first < from + count; first += most) {
        const rows = Math.min(most, from + count - first);
        if (!(weight instanceof QuantizedTensor))
          yield* elementChunks(weight.data.subarray(first * width, (first + rows) * width), stored);
        else if (fileDTypes[weight.dtype] === stored) yield readRows(internalsOf(k), weight, first, rows);
        else yield* elementChunks(floatRows(k, weight, first, rows), stored);
      }
    }
  }
  return { name: tensor.name, dtype: stored, shape: tensor.shape, chunks };
}

function floatRows(k: Kernels, weight: QuantizedTensor, first: number, count: number): Float32Array {
  return k.scope(() => {
    const bytes = readRows(internalsOf(k), weight, first, count);
    const x = k.quantizedTensor(bytes, [count, weight.shape[1]], weight.dtype);
    return k.dequantize({ x }).toArray();
  });
}

const configDTypes = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;

/** What config.json says of the weights beside it: the dtype of the matrices, if these are quantised. */
function dtypeOfFile(weights: ReadonlyMap<string, Weight>, dtype: FloatDType): StoredDType {
  const found = [...weights.values()].filter((weight) => weight instanceof QuantizedTensor);
  const blocks = [...new Set(found.map((weight) => weight.dtype))].filter((one) => fileDTypes[one] === 'U8');
  if (blocks.length > 1) return 'mixed';
  return blocks.at(0) ?? found.at(0)?.dtype ?? configDTypes[dtype];
}

/** @param dtype of weights that are float32 in memory */
export function storedModel(
  model: LanguageModel,
  dtype: FloatDType,
): { config: string; tensors: StoredTensor[] } {
  const { k, config, specs } = model;
  const weights = model.weights();
  const json = writeConfig(config, dtypeOfFile(weights, dtype));
  const packs = json.model_type !== 'freelunch' && json.quantization_config === undefined;
  const tensors = fileTensors(layouts[config.naming], config, specs, packs).map((tensor) => {
    if (!isWhole(tensor)) return storedPacked(k, tensor, weights, dtype);
    const [{ spec }] = tensor.pieces;
    return storedWeight(k, spec, weights.get(spec.name)!, dtype);
  });
  return { config: formatJson(json), tensors };
}
