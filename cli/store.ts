import { counted } from "../lib/progress.js";
import { storeSettings } from "../lib/settings/store.js";
import type { SettingsOf } from "../lib/settings/definition.js";
import { command, type CommandContext, type CommandReport } from "./command.js";

type StoreSettings = SettingsOf<typeof storeSettings>;

export const store = command(storeSettings, async (settings, context) => actions[settings.action](settings, context));

const actions: Record<
  StoreSettings["action"],
  (settings: StoreSettings, context: CommandContext) => Promise<CommandReport>
> = {
  info: async ({ folders: [folder] }) => {
    const { storeInfo } = await import("../lib/features/store-info.js");
    const { formatStoreInfo } = await import("../lib/features/format-store.js");
    const info = await storeInfo({ folder: folder! });
    return { text: formatStoreInfo(info), json: info };
  },
  verify: async ({ folders: [folder] }, context) => {
    const { verifyStore } = await import("../lib/features/verify-store.js");
    const { formatVerification } = await import("../lib/features/format-store.js");
    const verification = await verifyStore({ folder: folder!, ...context });
    const exitCode = verification.damaged.length === 0 ? 0 : 2;
    return { text: formatVerification(verification), json: verification, exitCode };
  },
  merge: async ({ folders: [out, ...parts] }, context) => {
    const { mergeStores } = await import("../lib/features/merge-stores.js");
    const { folder, size, layers } = await mergeStores({ out: out!, parts, ...context });
    return {
      text: `${folder}: ${counted(size, "image")}, ${counted(layers.length, "layer")}, of ${counted(parts.length, "part")}. The parts may be deleted.`,
      json: { folder, size, layers: layers.map(({ name }) => name) },
    };
  },
  export: async ({ folders: [folder], to, out, layers }, context) => {
    const { exportStore } = await import("../lib/features/export-store.js");
    const files = await exportStore({ folder: folder!, to: to!, out: out!, layers, ...context });
    return { text: files.join("\n"), json: { files } };
  },
};
