import type { Optimizer } from '@freelunch/autograd';
import { FormatError } from '@freelunch/errors';
import { fileError, nodeModules } from '../files/node.js';
import { syncFolder, writeDurably } from '../files/write.js';
import { lockFolder } from '../files/lock.js';
import type { LanguageModel } from '../language-model.js';
import {
  checkpointChunks,
  isBroken,
  type Progress,
  restoreCheckpoint,
  type RestoreOptions,
} from './training-checkpoint.js';

const NAME = /^step-(\d{1,15})\.safetensors$/;
const PARTIAL = /^\.?step-\d+\.safetensors\..*partial$/;

/** The checkpoints of one run: a folder with a file per checkpoint, the newest `keep` of them. Held by one run at a time. */
export class CheckpointFolder {
  readonly #folder: string;
  readonly #keep: number;
  readonly #release: () => Promise<void>;

  private constructor(folder: string, keep: number, release: () => Promise<void>) {
    this.#folder = folder;
    this.#keep = keep;
    this.#release = release;
  }

  /**
   * Takes a folder, and removes what a run that was killed left unfinished in it.
   *
   * @throws FileError if another run has it, or if the file system refuses
   */
  static async open(path: string, keep: number): Promise<CheckpointFolder> {
    const folder = new CheckpointFolder(path, keep, await lockFolder(path));
    try {
      for (const name of await folder.#files()) if (PARTIAL.test(name)) await folder.#remove(name);
      return folder;
    } catch (error) {
      await folder.close();
      throw error;
    }
  }

  /** Lets others have it. */
  close(): Promise<void> {
    return this.#release();
  }

  /** Steps that have a file, in order. */
  async steps(): Promise<number[]> {
    const steps = (await this.#files()).map((name) => Number(NAME.exec(name)?.[1] ?? NaN));
    return steps.filter(Number.isSafeInteger).sort((a, b) => a - b);
  }

  /** Writes one, then removes what is older than the newest `keep`. @throws FileError */
  async save(
    model: LanguageModel,
    optimizer: Optimizer,
    progress: Progress,
    signal?: AbortSignal,
  ): Promise<void> {
    const path = this.#path(fileName(progress.step));
    await writeDurably(path, checkpointChunks(model, optimizer, progress), { signal });
    for (const step of (await this.steps()).slice(0, -this.#keep)) await this.#remove(fileName(step));
  }

  /**
   * Goes to the newest checkpoint that is as it was written. Broken ones are named to `warn` and set aside.
   *
   * @returns undefined if there is none
   * @throws FormatError if all there are are broken
   */
  async restoreNewest(
    model: LanguageModel,
    optimizer: Optimizer,
    options: RestoreOptions,
    warn: (message: string) => void,
  ): Promise<Progress | undefined> {
    const steps = await this.steps();
    let broken: unknown;
    for (const step of steps.toReversed()) {
      try {
        return await restoreCheckpoint(this.#path(fileName(step)), model, optimizer, options);
      } catch (error) {
        if (!isBroken(error)) throw error;
        broken ??= error;
        if (step === steps[0]) break; // the last hope: what is there stays
        warn(`train: a checkpoint is broken, the one before it is used: ${error.message}`);
        await this.#setAside(fileName(step));
      }
    }
    if (broken === undefined) return undefined;
    throw new FormatError(
      `train: checkpoints.folder must hold a checkpoint that is as it was written, got none in ${this.#folder}: ${(broken as Error).message}`,
      { cause: broken },
    );
  }

  #path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  async #files(): Promise<string[]> {
    const { fs } = await nodeModules();
    try {
      const entries = await fs.readdir(this.#folder, { withFileTypes: true });
      return entries.filter((entry) => entry.isFile() || entry.isSymbolicLink()).map(({ name }) => name);
    } catch (cause) {
      throw fileError(cause, this.#folder, 'cannot be read');
    }
  }

  async #remove(name: string): Promise<void> {
    const { fs } = await nodeModules();
    try {
      await fs.rm(this.#path(name), { force: true });
    } catch (cause) {
      throw fileError(cause, this.#path(name), 'cannot be removed');
    }
  }

  /** A broken one under another name: it would count among the newest, and a good one be removed for it. */
  async #setAside(name: string): Promise<void> {
    const { fs } = await nodeModules();
    try {
      await fs.rename(this.#path(name), this.#path(`${name}.broken`));
      await syncFolder(this.#folder);
    } catch (cause) {
      throw fileError(cause, this.#path(name), 'cannot be renamed');
    }
  }
}

const fileName = (step: number): string => `step-${String(step).padStart(8, '0')}.safetensors`;
