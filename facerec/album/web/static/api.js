// Requests to the server; every answer is JSON.

export class Refused extends Error {
  constructor(message, status, answer) {
    super(message);
    this.status = status;
    this.answer = answer;
  }
}

async function request(path, settings) {
  let response;
  try {
    response = await fetch(path, settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("facerec does not answer; is the command still running?", 0, {});
  }
  const json = response.headers.get("content-type")?.startsWith("application/json");
  const answer = json ? await response.json() : { error: (await response.text()).trim() };
  if (!response.ok) throw new Refused(answer.error, response.status, answer);
  return answer;
}

export const get = (path, values = {}, signal = undefined) => {
  const query = new URLSearchParams(values).toString();
  return request("api/" + path + (query && "?" + query), { signal });
};

export const post = (path, values) => request("api/" + path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(values),
});

export const chipOf = (face) => `faces/${face}.jpg`;
export const pictureOf = (photo) => `photos/${photo}.jpg`;
