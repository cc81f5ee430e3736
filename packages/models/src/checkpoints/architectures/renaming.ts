/** Our name of a tensor in a published checkpoint, or undefined for a buffer that is no weight. */
export type Renaming = (name: string) => string | undefined;
