import { hasFiles } from '../../files/node.js';
import { openDiskStore } from './disk-store.js';
import { openPageStore } from './page-store.js';
import type { Store } from './store.js';

/**
 * @param place a folder; true for the usual place
 * @throws UnsupportedError if this runtime has none, FileError
 */
export function openStore(place: true | string): Promise<Store> {
  return hasFiles() ? openDiskStore(place) : openPageStore();
}
