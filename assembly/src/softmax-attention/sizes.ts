/** Sizes of tiles and panels. */
/** Queries side by side: a panel. */
export const LANES: i32 = 8;
export const LANE_BYTES: usize = 32;
/** Rows of a register tile; six, where they would fit (see tile.ts), are not tried: panels here are five wide. */
export const ROWS: i32 = 5;
export const KEY_TILE: i32 = 60;
export const QUERY_TILE: i32 = 64;
export const QUERY_TILE_BYTES: usize = 256;
export const PANELS: usize = 8; // of eight lanes in a tile of queries
/** Where a maximum begins: finite, so that no difference of scores is NaN. */
export const LOWEST: f32 = -f32.MAX_VALUE;
/** Fewer queries than this are attended one by one: to pack the keys would cost more than it saves. */
export const FEW: i32 = 5;

/** To the start of a register tile. */
export function roundDown(n: i32): i32 {
  return n - (n % ROWS);
}

/** Bytes of `count` elements. */
export function words(count: i32): usize {
  return (<usize>count) << 2;
}

export function bytes(rows: i32, columns: i32): usize {
  return (<usize>rows * <usize>columns) << 2;
}

/** Of [width, 8], with room for the last register tile. */
export function lanesFloats(width: i32): f64 {
  return <f64>LANES * (<f64>width + <f64>ROWS);
}
