import { webcrypto } from "node:crypto";
globalThis.crypto ??= webcrypto;
const { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } = await import("age-encryption");

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { identity, recipient, files, reseal } = JSON.parse(input);
const [decrypter, encrypter] = [new Decrypter(), new Encrypter()];
decrypter.addIdentity(identity);
encrypter.addRecipient(recipient);
const text = (bytes) => Buffer.from(bytes).toString("base64");
const [opened, sealed] = [[], []];
for (const file of files) {
  const plaintext = await decrypter.decrypt(Buffer.from(file, "base64"));
  opened.push(text(plaintext));
  if (reseal) sealed.push(text(await encrypter.encrypt(plaintext)));
}
const made_identity = await generateHybridIdentity();
process.stdout.write(
  JSON.stringify({
    opened,
    sealed,
    identity_to_recipient: await identityToRecipient(identity),
    made_identity,
    made_recipient: await identityToRecipient(made_identity),
  }),
);
