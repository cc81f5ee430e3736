/** Token ids as callers give them, and as kernels take them. */
import { ArgumentError, DTypeError, ShapeError, show } from '@freelunch/errors';
import { type Kernels, Tensor } from '@freelunch/kernels';

/** Token ids: int32 `[batch, seqLen]`, one row of them, or rows of one length. */
export type Tokens = Tensor | Int32Array | readonly number[] | readonly (readonly number[])[];

type Row = ArrayLike<number>;

const isList = (value: unknown): value is ArrayLike<unknown> =>
  Array.isArray(value) || value instanceof Int32Array || value instanceof Uint8Array;

/** @returns int32 `[batch, seqLen]` @throws ArgumentError, ShapeError, DTypeError */
export function tokenIds(k: Kernels, where: string, tokens: Tokens | Uint8Array, name = 'tokens'): Tensor {
  if (tokens instanceof Tensor) {
    if (tokens.shape.length !== 2)
      throw new ShapeError(`${where}: ${name} must be [batch, seqLen], got [${tokens.shape.join(', ')}]`);
    return tokens;
  }
  if (!isList(tokens))
    throw new ArgumentError(`${where}: ${name} must be ids, in one row or several, got ${show(tokens)}`);
  const rows = (tokens.length > 0 && !isList(tokens[0]) ? [tokens] : tokens) as readonly Row[];
  if (!Array.from(rows).every(isList))
    throw new ArgumentError(`${where}: ${name} must be ids, or rows of them, got ${show(tokens)}`);
  const seqLen = rows[0]?.length ?? 0;
  if (seqLen === 0) throw new ShapeError(`${where}: ${name} must be at least one, got none`);
  const other = rows.findIndex((row) => row.length !== seqLen);
  if (other > 0)
    throw new ShapeError(
      `${where}: ${name} must be rows of one length, got ${seqLen} and ${rows[other].length}`,
    );
  const ids = rows.flatMap((row) => Array.from(row));
  const wrong = ids.findIndex((id) => !Number.isInteger(id));
  if (wrong >= 0) throw new ArgumentError(`${where}: ${name} must be integers, got ${show(ids[wrong])}`);
  return k.tensor(ids, [rows.length, seqLen], 'int32');
}

/** @throws ArgumentError naming the first id, of rows of some length, that the model has no embedding of */
export function checkRange(where: string, name: string, ids: Tensor, vocabSize: number): void {
  const { data, shape } = ids;
  const seqLen = shape[1];
  for (let i = 0; i < data.length; i++) {
    const id = data[i];
    if (id < 0 || id >= vocabSize)
      refuseId(where, `${name}[${Math.floor(i / seqLen)}, ${i % seqLen}]`, id, vocabSize);
  }
}

function refuseId(where: string, name: string, id: unknown, vocabSize: number): never {
  throw new ArgumentError(`${where}: ${name} must be an id from 0 to ${vocabSize - 1}, got ${show(id)}`);
}

/** One id per sequence. @throws ArgumentError, DTypeError, DisposedError */
export function stepIds(
  token: number | readonly number[] | Int32Array | Tensor,
  vocabSize: number,
): ArrayLike<number> {
  const given = typeof token === 'number' ? [token] : token instanceof Tensor ? token.data : token;
  if (token instanceof Tensor && token.dtype !== 'int32')
    throw new DTypeError(`step: token must be int32, got ${token.dtype}`);
  if (!Array.isArray(given) && !(given instanceof Int32Array))
    throw new ArgumentError(`step: token must be an id, or one per sequence, got ${show(token)}`);
  const ids = Array.isArray(given) ? given.slice() : given;
  for (let b = 0; b < ids.length; b++) {
    const id: unknown = ids[b];
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= vocabSize)
      refuseId('step', ids.length === 1 ? 'token' : `token[${b}]`, id, vocabSize);
  }
  return ids;
}

/** The position of each id, of sequences that go on from `start`. */
export function positionsOf(k: Kernels, { shape }: Tensor, start: number): Tensor<'int32'> {
  const [batch, seqLen] = shape;
  return k.tensor(
    Int32Array.from({ length: batch * seqLen }, (_, i) => start + (i % seqLen)),
    [batch, seqLen],
  );
}

/** Positions `start` to `stop` of each sequence. */
export function columns(k: Kernels, ids: Tensor, start: number, stop: number): Tensor {
  const [batch, seqLen] = ids.shape;
  const { data } = ids;
  const length = stop - start;
  return k.tensor(
    Int32Array.from(
      { length: batch * length },
      (_, i) => data[Math.floor(i / length) * seqLen + start + (i % length)],
    ),
    [batch, length],
  );
}

/** Ids or flags shaped like `ids`, in rows or all in one. */
function shapedLike(k: Kernels, ids: Tensor, name: string, given: Tokens | Uint8Array): Tensor {
  const [batch, seqLen] = ids.shape;
  const flat = isList(given) && !isList(given[0]) && given.length === batch * seqLen;
  const tensor = tokenIds(k, 'loss', given, name);
  const shaped = flat ? tensor.reshape([batch, seqLen]) : tensor;
  if (shaped.shape[0] !== batch || shaped.shape[1] !== seqLen) {
    throw new ShapeError(
      `loss: ${name} must be shaped like tokens, [${batch}, ${seqLen}], got [${shaped.shape.join(', ')}]`,
    );
  }
  return shaped;
}

/** What is due at each position, and where it is scored: the next token, everywhere but at the end, if not given. */
export function scoredTargets(
  k: Kernels,
  ids: Tensor,
  { targets, mask }: { targets?: Tokens; mask?: Tokens | Uint8Array },
): { targets: Tensor; mask?: Tensor } {
  const scored = mask === undefined ? undefined : shapedLike(k, ids, 'mask', mask);
  if (targets !== undefined) return { targets: shapedLike(k, ids, 'targets', targets), mask: scored };
  const { data } = ids;
  const seqLen = ids.shape[1];
  const next = Int32Array.from({ length: data.length }, (_, i) =>
    (i + 1) % seqLen === 0 ? -100 : data[i + 1],
  );
  return { targets: k.tensor(next, ids.shape), mask: scored };
}
