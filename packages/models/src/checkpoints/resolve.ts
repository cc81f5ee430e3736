import { type ModelConfig, resolveConfig, type ResolvedConfig } from '@freelunch/config';
import { ArgumentError, FormatError } from '@freelunch/errors';

/** A config that stands in a file: what is wrong in it is the file's fault. @throws FormatError */
export function resolveFile(where: string, config: ModelConfig): ResolvedConfig {
  try {
    return resolveConfig(config, where);
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new FormatError(cause.message, { cause });
  }
}
