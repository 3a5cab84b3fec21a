import { Client } from "@stomp/stompjs";
/** Returns a client; calls onEvent(destination, body) once per event, reload(destination) when to load its data. */
export function follow(brokerURL, destinations, onEvent, reload) {
  const last = {}; // by destination: what to resume after
  const client = new Client({ brokerURL, reconnectDelay: 2000 });
  client.onConnect = () => destinations.forEach((destination, n) => {
    const headers = { id: `sub-${n}`, receipt: `live-${n}`, ...last[destination] };
    client.watchForReceipt(headers.receipt, (receipt) => {
      if (receipt.headers.recovered === "true") return; // what was missed follows now
      last[destination] = { "last-message-id": receipt.headers["last-message-id"] };
      reload(destination); // the first time, and whenever the history was lost
    });
    client.subscribe(destination, (message) => {
      onEvent(destination, message.body);
      last[destination] = { "last-message-id": message.headers["message-id"] };
    }, headers);
  });
  return client;
}
