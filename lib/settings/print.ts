import { Document, isScalar, isSeq, visit } from "yaml";

import type { ProtocolHeader } from "./load.js";

/** Settings as YAML. Given back by `--config` they resolve to the same settings. */
export function printSettings(options: { settings: Record<string, unknown>; protocol?: ProtocolHeader }): string {
  const { settings, protocol } = options;
  const document = new Document(protocol ? { protocol, ...settings } : settings, { keepUndefined: false });
  visit(document, {
    Seq: (_, list) => {
      if (list.items.every((item) => isScalar(item) || isSeq(item))) list.flow = list.items.length < 8;
    },
  });
  return document.toString({ lineWidth: 100, flowCollectionPadding: false });
}
