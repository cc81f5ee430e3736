/** Where the compiled binary comes from, and what to do when it does not come: each error says its cause and a remedy. */
import {
  ArgumentError,
  FileError,
  FormatError,
  FreelunchError,
  show,
  UnsupportedError,
} from '@freelunch/errors';
import type { Variant } from './context.js';

/** A compiled binary, in any form that a runtime can give it in. */
export type WasmSource = WebAssembly.Module | Response | ArrayBuffer | Uint8Array;

const INLINE = "import '@freelunch/kernels/inline', which has the binaries inside";

const beside = (variant: Variant) =>
  `copy node_modules/@freelunch/kernels/dist/${variant}.wasm next to the bundle, name its folder as baseUrl, or ${INLINE}`;

/** Of bytes that do not start as every binary does. */
const notWasm = (bytes: Uint8Array): boolean => [0, 0x61, 0x73, 0x6d].some((byte, i) => bytes[i] !== byte);

export const notABinary = (why: string, cause?: unknown): FormatError =>
  new FormatError(`loadKernels: source must be a binary of these kernels, got ${why}`, { cause });

export const doesNotStart = (cause: unknown): unknown =>
  cause instanceof FreelunchError
    ? cause
    : notABinary(`one that does not start: ${(cause as Error).message}`, cause);

/** The smallest module there is. */
const nothing = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/** @throws UnsupportedError where nothing may be compiled, FormatError if it is no binary, FileError if it does not come */
export async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  try {
    // Streaming compiles while it downloads, but wants the right content type.
    if (isResponse(source) && streams(source))
      return await WebAssembly.compileStreaming(checkResponse(source));
    return await WebAssembly.compile(await bytesOf(source));
  } catch (cause) {
    if (cause instanceof FreelunchError) throw cause;
    await WebAssembly.compile(nothing).catch((refusal: Error) => {
      throw new UnsupportedError(
        `loadKernels: nothing may be compiled here: ${refusal.message}; a page needs 'wasm-unsafe-eval' in the ` +
          'script-src of its Content-Security-Policy, a worker of Cloudflare an imported module as source',
        { cause: refusal },
      );
    });
    throw doesNotStart(cause);
  }
}

const isResponse = (source: WasmSource): source is Response =>
  typeof Response !== 'undefined' && source instanceof Response;

const streams = (response: Response): boolean =>
  typeof WebAssembly.compileStreaming === 'function' &&
  response.headers.get('content-type') === 'application/wasm';

/** Where a response came from; one that a program made has no address. */
const nameOf = ({ url }: Response): string => (url === '' ? 'source' : url);

const variantOf = ({ url }: Response): Variant => (url.includes('relaxed-simd') ? 'relaxed-simd' : 'simd');

function checkResponse(response: Response): Response {
  if (response.ok) return response;
  throw new FileError(
    `loadKernels: ${nameOf(response)} must be a binary, got HTTP status ${response.status}; if a bundler has left ` +
      `it behind, ${beside(variantOf(response))}`,
  );
}

/** No copy. @throws UnsupportedError for a module, whose bytes can't be had any more, FormatError for what is no binary */
export async function bytesOf(source: WasmSource): Promise<Uint8Array<ArrayBuffer>> {
  if (source instanceof WebAssembly.Module) {
    throw new UnsupportedError(
      'loadKernels: with threads, source must be the bytes of a binary, got a module',
    );
  }
  if (isResponse(source)) {
    const bytes = new Uint8Array(await checkResponse(source).arrayBuffer());
    if (notWasm(bytes)) throw anotherFile(source, bytes);
    return bytes;
  }
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
  }
  if (Object.prototype.toString.call(source) === '[object ArrayBuffer]') return new Uint8Array(source);
  throw notABinary(show(source));
}

/** Servers of single-page applications answer every address that they do not know with the page. */
function anotherFile(response: Response, bytes: Uint8Array): FormatError {
  const start = show(new TextDecoder().decode(bytes.subarray(0, 40)));
  const type = response.headers.get('content-type') ?? 'none';
  const remedy = response.url.includes('/.vite/')
    ? "Vite's optimizer has moved the module away from its binary: set optimizeDeps: { exclude: ['@freelunch/kernels'] } in vite.config"
    : `the server gives this where it has no such file: ${beside(variantOf(response))}`;
  return new FormatError(
    `loadKernels: ${nameOf(response)} must be a binary, got ${bytes.length} bytes of content type ${type} that begin with ${start}; ${remedy}`,
  );
}

/** Both addresses are written out: bundlers find files by this very form. */
function binaryUrl(variant: Variant, baseUrl?: string | URL): URL {
  if (baseUrl !== undefined) {
    try {
      return new URL(`${variant}.wasm`, baseUrl);
    } catch (cause) {
      throw new ArgumentError(`loadKernels: baseUrl must be the URL of a folder, got ${show(baseUrl)}`, {
        cause,
      });
    }
  }
  try {
    return variant === 'simd'
      ? new URL('./simd.wasm', import.meta.url)
      : new URL('./relaxed-simd.wasm', import.meta.url);
  } catch (cause) {
    // A bundle of another format than ESM has no import.meta; the address of a module in a blob has no folder.
    throw new UnsupportedError(
      `loadKernels: the binary cannot be found from ${show(import.meta.url)}, the address of this module; name its folder as baseUrl, or ${INLINE}`,
      { cause },
    );
  }
}

/**
 * The binary of a variant, by fetch where there is a network address, from the file system in Node, Deno and Bun.
 * @throws FileError if it cannot be had, ArgumentError for a baseUrl that is none, UnsupportedError if there is no address
 */
export async function readBinary(variant: Variant, baseUrl?: string | URL): Promise<WasmSource> {
  const url = binaryUrl(variant, baseUrl);
  if (url.protocol !== 'file:') {
    try {
      return await fetch(url);
    } catch (cause) {
      throw new FileError(
        `loadKernels: ${url.href} cannot be fetched: ${reason(cause)}; it takes a network, a server that allows it (CORS) and, in a page with a Content-Security-Policy, the server in connect-src; or ${INLINE}`,
        { cause },
      );
    }
  }
  try {
    // Named at run time: bundlers for browsers must not follow it.
    const fileSystem = 'node:fs/promises';
    const { readFile } = (await import(
      /* @vite-ignore */ /* webpackIgnore: true */ fileSystem
    )) as typeof import('node:fs/promises');
    return await readFile(url);
  } catch (cause) {
    throw new FileError(
      `loadKernels: ${url.href} cannot be read: ${reason(cause)}; ${fileRemedy(cause, variant)}`,
      { cause },
    );
  }
}

const reason = (cause: unknown): string => {
  const { message, cause: inner } = cause as Error;
  return inner instanceof Error ? `${message}: ${inner.message}` : message;
};

function fileRemedy(cause: unknown, variant: Variant): string {
  const { code, name } = cause as { code?: unknown; name?: unknown };
  if (code === 'ENOENT') return `if a bundler has left it behind, ${beside(variant)}`;
  if (code === 'ERR_ACCESS_DENIED' || name === 'NotCapable' || name === 'PermissionDenied')
    return `allow this program to read it (Node: --allow-fs-read, Deno: --allow-read), or ${INLINE}`;
  return INLINE;
}
