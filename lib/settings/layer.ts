/** Values from one place (a file, a flag), laid over those from places that count less. */
export interface SettingsLayer {
  values: Record<string, unknown>;
  /** How the place is called in a message about the value at `path`, e.g. `epochs (my.yaml:3)` or `--epochs`. */
  subject(path: PropertyKey[]): string;
  /** The place alone, e.g. `my.yaml:3` or `--set`. */
  place(path: PropertyKey[]): string;
}

export interface MergedSettings {
  values: Record<string, unknown>;
  /** The layer that the value at `path` comes from; undefined where none gave it. */
  origin(path: PropertyKey[]): SettingsLayer | undefined;
}

/** Later layers count more. Objects are merged key by key; everything else, lists too, replaces what was there. */
export function mergeLayers(layers: SettingsLayer[]): MergedSettings {
  const values = empty();
  const origins = new Map<string, SettingsLayer>();
  for (const layer of layers) lay(layer.values, values, [], (path) => void origins.set(nameOf(path), layer));
  return {
    values,
    origin: (path) => {
      for (let length = path.length; length > 0; length--) {
        const layer = origins.get(nameOf(path.slice(0, length)));
        if (layer) return layer;
      }
      return undefined;
    },
  };
}

function lay(
  from: Record<string, unknown>,
  into: Record<string, unknown>,
  above: string[],
  note: (path: string[]) => void,
): void {
  for (const [key, value] of Object.entries(from)) {
    const path = [...above, key];
    note(path);
    if (isRecord(value)) {
      const below = into[key];
      const target = isRecord(below) ? below : empty();
      into[key] = target;
      lay(value, target, path, note);
    } else {
      into[key] = value;
    }
  }
}

/** `optimizer.lr[0]`. */
export function nameOf(path: PropertyKey[]): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`)).join("");
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without a prototype, so that a key `__proto__` is a key like any other. */
function empty(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}
