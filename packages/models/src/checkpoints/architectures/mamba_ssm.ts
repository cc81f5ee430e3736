import type { ResolvedConfig } from '@freelunch/config';
import { UnsupportedError } from '@freelunch/errors';

/** @throws UnsupportedError for MLPs, whose two first matrices state-spaces stores as one */
export function checkMambaSsm({ mlps }: ResolvedConfig, where: string): void {
  if (mlps.some(({ type }) => type !== 'none'))
    throw new UnsupportedError(`${where}: d_intermediate must be 0 for weights to load, got MLPs`);
}
