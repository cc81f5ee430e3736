import { ArgumentError, show, UnsupportedError } from '@freelunch/errors';
import { type AnyTensor, tensorsIn } from './tensors-in.js';

/** Tensors made since a scope was opened, of those that still live. */
type Scope = Set<AnyTensor>;

/** The tensors that live, and which scope frees which. `Context` says what scopes do. */
export class Scopes {
  readonly #open: Scope[] = [];
  /** Live tensors in the order in which they were made, each with the scope that frees it. */
  readonly #live = new Map<AnyTensor, Scope | undefined>();

  /** Number of live tensors. */
  get tensors(): number {
    return this.#live.size;
  }

  add(tensor: AnyTensor): void {
    const scope = this.#open.at(-1);
    this.#live.set(tensor, scope);
    scope?.add(tensor);
  }

  remove(tensor: AnyTensor): void {
    this.#live.get(tensor)?.delete(tensor);
    this.#live.delete(tensor);
  }

  /** Frees all tensors except the `count` oldest. */
  freeBeyond(count: number): void {
    for (const tensor of [...this.#live.keys()].slice(count)) tensor.dispose();
  }

  scope<T>(fn: () => T): T {
    return this.#within('scope', fn, (made, result) => {
      const kept = tensorsIn(result);
      for (const tensor of made) {
        if (kept.has(tensor)) this.#give(tensor, this.#open.at(-1));
        else tensor.dispose();
      }
    });
  }

  alongside<T>(tensor: AnyTensor, fn: () => T): T {
    const home = this.#live.get(tensor);
    return this.#within('alongside', fn, (made) => {
      for (const one of made) this.#give(one, home);
    });
  }

  /** Runs `fn` in a scope, of which `settle` takes what is to live on. If either throws, the rest is freed. */
  #within<T>(where: string, fn: () => T, settle: (made: Scope, result: T) => void): T {
    if (typeof fn !== 'function') throw new ArgumentError(`${where}: fn must be a function, got ${show(fn)}`);
    const scope: Scope = new Set();
    this.#open.push(scope);
    let open = true;
    try {
      const result = fn();
      if (typeof (result as { then?: unknown } | undefined | null)?.then === 'function') {
        throw new UnsupportedError(`${where}: fn must not be asynchronous, got a promise`);
      }
      this.#open.pop();
      open = false;
      settle(scope, result);
      return result;
    } catch (error) {
      if (open) this.#open.pop();
      for (const tensor of scope) tensor.dispose();
      throw error;
    }
  }

  /** Moves a tensor into a scope, or out of all. */
  #give(tensor: AnyTensor, scope: Scope | undefined): void {
    this.#live.get(tensor)?.delete(tensor);
    this.#live.set(tensor, scope);
    scope?.add(tensor);
  }
}
