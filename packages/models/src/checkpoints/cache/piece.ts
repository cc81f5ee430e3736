/** Files are kept in pieces of this size, the last one of a file excepted: what is in memory at once. */
export const PIECE_BYTES = 8 * 2 ** 20;
