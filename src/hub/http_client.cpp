#include "hub/http_client.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/url/src.hpp>

#include "base/error.h"
#include "base/number.h"
#include "hub/proxy.h"

namespace fovea::hub {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace urls = boost::urls;
using asio::use_awaitable;
using Tcp = asio::ip::tcp;

constexpr auto kConnectTimeout = std::chrono::seconds(15);
constexpr auto kSilenceTimeout = std::chrono::seconds(30);
constexpr size_t kHeaderBytesMax = size_t{64} << 10;
constexpr size_t kPieceBytes = size_t{256} << 10;

urls::url parsed(const std::string& text) {
  const auto parsed = urls::parse_uri(text);
  const bool web = parsed && (parsed->scheme() == "https" || parsed->scheme() == "http");
  if (!web || parsed->host().empty()) {
    fail(ErrorKind::kInvalidArgument, "[hub] expected an http or https address but got '{}'", text);
  }
  return urls::url(*parsed);
}

std::string port_of(const urls::url& url) {
  if (url.has_port()) return std::string(url.port());
  return url.scheme() == "https" ? "443" : "80";
}

// The proxy on the way, one that speaks HTTP in clear.
std::optional<urls::url> proxy_of(const urls::url& url) {
  std::string address =
      proxy_for(std::string(url.scheme()), std::string(url.host_address()), port_of(url));
  if (address.empty()) return std::nullopt;
  if (address.find("://") == std::string::npos) address = "http://" + address;
  const auto proxy = urls::parse_uri(address);
  if (!proxy || proxy->scheme() != "http" || proxy->host().empty()) {
    // Without what may be a password.
    const auto at = address.rfind('@');
    fail(ErrorKind::kInvalidArgument,
         "[hub] expected the address of an http proxy in the environment but got '{}'",
         at == std::string::npos ? address : "..." + address.substr(at));
  }
  return urls::url(*proxy);
}

// What Proxy-Authorization says; empty for a proxy that asks for no name.
std::string authorization_of(const urls::url& proxy) {
  if (!proxy.has_userinfo()) return "";
  const std::string plain = proxy.user() + ":" + proxy.password();
  std::string encoded(4 * (plain.size() / 3 + 1) + 1, '\0');
  const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                     reinterpret_cast<const unsigned char*>(plain.data()),
                                     static_cast<int>(plain.size()));
  encoded.resize(static_cast<size_t>(size));
  return "Basic " + encoded;
}

std::string lower_case(beast::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = beast::detail::ascii_tolower(c);
  return lower;
}

HttpResponse response_of(const http::response<http::buffer_body>& message) {
  HttpResponse response;
  response.status = message.result_int();
  for (const auto& field : message) {
    response.headers[lower_case(field.name_string())] = std::string(field.value());
  }
  return response;
}

// Reads the body a piece at a time; the deadline begins anew with each.
template <class Stream>
asio::awaitable<HttpResponse> read_response(Stream& stream, const BodySink& sink) {
  auto& socket = beast::get_lowest_layer(stream);
  beast::flat_buffer buffer(kHeaderBytesMax + kPieceBytes);
  http::response_parser<http::buffer_body> parser;
  parser.header_limit(kHeaderBytesMax);
  parser.body_limit(boost::none);
  co_await http::async_read_header(stream, buffer, parser, use_awaitable);
  const HttpResponse response = response_of(parser.get());
  std::vector<std::byte> piece(kPieceBytes);
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    socket.expires_after(kSilenceTimeout);
    boost::system::error_code error;
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(use_awaitable, error));
    // What came before a connection ended is worth keeping.
    const auto got = std::span(piece).first(piece.size() - body.size);
    if (!got.empty() && !sink(response, got)) break;
    if (error && error != http::error::need_buffer) throw boost::system::system_error(error);
  }
  co_return response;
}

void authorize(http::request<http::empty_body>& message, const urls::url& proxy) {
  const std::string authorization = authorization_of(proxy);
  if (!authorization.empty()) message.set(http::field::proxy_authorization, authorization);
}

// Has the proxy pass everything on to the url's host from here on.
asio::awaitable<void> open_tunnel(beast::tcp_stream& socket, const urls::url& url,
                                  const urls::url& proxy) {
  const std::string host = std::string(url.encoded_host()) + ":" + port_of(url);
  http::request<http::empty_body> message(http::verb::connect, host, 11);
  message.set(http::field::host, host);
  message.set(http::field::user_agent, "fovea/" FOVEA_VERSION);
  authorize(message, proxy);
  socket.expires_after(kSilenceTimeout);
  co_await http::async_write(socket, message, use_awaitable);
  beast::flat_buffer buffer(kHeaderBytesMax);
  http::response_parser<http::empty_body> parser;
  parser.skip(true);  // no body follows, whatever the header says
  co_await http::async_read_header(socket, buffer, parser, use_awaitable);
  const unsigned status = parser.get().result_int();
  if (status / 100 == 2) co_return;
  const std::string text =
      fmt::format("[hub] expected the proxy '{}' to reach '{}' but got status {}",
                  std::string(proxy.encoded_host_and_port()), host, status);
  if (status >= 500) throw PassingError(ErrorKind::kIo, text);
  throw Error(ErrorKind::kIo, text);
}

template <class Stream>
asio::awaitable<HttpResponse> ask(Stream& stream, const urls::url& url, const HttpRequest& request,
                                  const BodySink& sink, const urls::url* proxy = nullptr) {
  std::string target = url.encoded_target().empty() ? "/" : std::string(url.encoded_target());
  if (proxy) target = "http://" + std::string(url.encoded_host_and_port()) + target;
  http::request<http::empty_body> message(http::verb::get, target, 11);
  message.set(http::field::host, std::string(url.encoded_host_and_port()));
  message.set(http::field::user_agent, "fovea/" FOVEA_VERSION);
  message.set(http::field::connection, "close");
  for (const auto& [name, value] : request.headers) message.set(name, value);
  if (proxy) authorize(message, *proxy);
  beast::get_lowest_layer(stream).expires_after(kSilenceTimeout);
  co_await http::async_write(stream, message, use_awaitable);
  co_return co_await read_response(stream, sink);
}

asio::ssl::context tls_context() {
  asio::ssl::context context(asio::ssl::context::tls_client);
  ::SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_default_verify_paths();
  context.set_verify_mode(asio::ssl::verify_peer);
  return context;
}

asio::awaitable<HttpResponse> ask_over_tls(beast::tcp_stream socket, const urls::url& url,
                                           const HttpRequest& request, const BodySink& sink) {
  auto context = tls_context();
  beast::ssl_stream<beast::tcp_stream> stream(std::move(socket), context);
  const std::string host = url.host_address();
  stream.set_verify_callback(asio::ssl::host_name_verification(host));
  if (url.host_type() == urls::host_type::name) {  // addresses are no server names
    std::string name = host;
    ::SSL_ctrl(stream.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               name.data());
  }
  co_await stream.async_handshake(asio::ssl::stream_base::client, use_awaitable);
  co_return co_await ask(stream, url, request, sink);
}

asio::awaitable<HttpResponse> connect_and_ask(const urls::url& url, const HttpRequest& request,
                                              const BodySink& sink) {
  const auto executor = co_await asio::this_coro::executor;
  const auto proxy = proxy_of(url);
  const urls::url& first = proxy ? *proxy : url;
  Tcp::resolver resolver(executor);
  const auto addresses =
      co_await resolver.async_resolve(first.host_address(), port_of(first), use_awaitable);
  beast::tcp_stream socket(executor);
  socket.expires_after(kConnectTimeout);
  co_await socket.async_connect(addresses, use_awaitable);
  if (url.scheme() == "http") {
    co_return co_await ask(socket, url, request, sink, proxy ? &*proxy : nullptr);
  }
  if (proxy) co_await open_tunnel(socket, url, *proxy);
  co_return co_await ask_over_tls(std::move(socket), url, request, sink);
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

int64_t HttpResponse::number(const std::string& name) const {
  return read_number<int64_t>(header(name), 0, std::numeric_limits<int64_t>::max()).value_or(-1);
}

HttpResponse http_get(const HttpRequest& request, const BodySink& sink) {
  const urls::url url = parsed(request.url);
  asio::io_context context(1);
  HttpResponse response;
  std::exception_ptr failure;
  asio::co_spawn(context, connect_and_ask(url, request, sink),
                 [&](std::exception_ptr thrown, HttpResponse answer) {
                   failure = thrown;
                   response = std::move(answer);
                 });
  context.run();
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    throw PassingError(ErrorKind::kIo, fmt::format("[hub] expected an answer from '{}' but got: {}",
                                                   std::string(url.encoded_host_and_port()),
                                                   error.code().message()));
  }
  return response;
}

std::string resolve_url(const std::string& url, const std::string& location) {
  urls::url target;
  const auto reference = urls::parse_uri_reference(location);
  if (!reference || !urls::resolve(parsed(url), *reference, target)) {
    fail(ErrorKind::kInvalidData, "[hub] expected an address to go on to but got '{}'", location);
  }
  return std::string(target.buffer());
}

std::string origin_of(const std::string& url) {
  const urls::url parts = parsed(url);
  return fmt::format("{}://{}:{}", std::string(parts.scheme()), std::string(parts.encoded_host()),
                     port_of(parts));
}

}  // namespace fovea::hub
