import { type Field, harmless, number, only, whole } from '../fields.js';

export const needed: Field<number> = (value, place) =>
  value === undefined ? place.bad('there') : (whole()(value, place) as number);

/** A float32 as the shortest decimal number that becomes it: 1e-5, not 0.000009999999747378752. */
export function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === Math.fround(value)) return decimal;
  }
  return value;
}

export function float(absent: number): Field<number>;
export function float(): Field<number | undefined>;
export function float(absent?: number): Field<number | undefined> {
  return (value, place) => {
    const given = number()(value, place);
    return given === undefined ? absent : shortest(given);
  };
}

/** Of all architectures. */
export const common = {
  block_count: needed,
  embedding_length: needed,
  context_length: harmless, // which positions a model was trained on; learned ones have a tensor
  vocab_size: harmless, // token_embd.weight has as many rows
  tensor_data_layout: harmless, // how the original's weights lay
  expert_count: only(0),
  expert_used_count: only(0),
};
