/** A dense row-major array in double precision: what the references take and give. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}
