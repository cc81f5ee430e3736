// Written by scripts/bundle-wasm.mjs: the compiled binaries in base64.
export const simd: string;
export const relaxedSimd: string;
