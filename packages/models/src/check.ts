/** Checks of arguments that several public functions take. */
import { ArgumentError, show } from '@freelunch/errors';
import type { Kernels } from '@freelunch/kernels';

export function checkKernels(where: string, k: Kernels): void {
  if (typeof (k as Partial<Kernels> | null)?.scope !== 'function')
    throw new ArgumentError(`${where}: k must be what loadKernels gives, got ${show(k)}`);
}

export function checkSignal(where: string, signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ArgumentError(`${where}: signal must be an AbortSignal, got ${show(signal)}`);
}

/** A function that may be absent. */
export function checkFunction(where: string, name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function')
    throw new ArgumentError(`${where}: ${name} must be a function, got ${show(value)}`);
}

export function checkFlag(where: string, name: string, flag: unknown): void {
  if (typeof flag !== 'boolean')
    throw new ArgumentError(`${where}: ${name} must be true or false, got ${show(flag)}`);
}
