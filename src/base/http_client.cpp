#include "base/http_client.h"

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
#include "base/proxy.h"

namespace fovea {
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

urls::url parsed(const std::string& text, const std::string& where) {
  const auto parsed = urls::parse_uri(text);
  const bool web = parsed && (parsed->scheme() == "https" || parsed->scheme() == "http");
  if (!web || parsed->host().empty()) {
    fail(ErrorKind::kInvalidArgument, "[{}] expected an http or https address but got '{}'", where,
         text);
  }
  return urls::url(*parsed);
}

std::string lower_case(beast::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = beast::detail::ascii_tolower(c);
  return lower;
}

std::string port_of(const urls::url& url) {
  if (url.has_port()) return std::string(url.port());
  return url.scheme() == "https" ? "443" : "80";
}

HttpTarget target_of(const urls::url& url) {
  HttpTarget target;
  target.scheme = url.scheme();
  target.host = lower_case(url.host_address());
  target.port = port_of(url);
  target.is_name = url.host_type() == urls::host_type::name;
  target.is_escaped = url.encoded_host().find('%') != std::string::npos ||
                      url.host_type() == urls::host_type::ipvfuture;
  target.has_user = url.has_userinfo();
  return target;
}

// When a step that begins now must be over.
std::chrono::steady_clock::time_point until(std::chrono::seconds wait, const HttpRequest& request) {
  const auto end = std::chrono::steady_clock::now() + wait;
  return request.deadline ? std::min(end, *request.deadline) : end;
}

// The proxy on the way, one that speaks HTTP in clear.
std::optional<urls::url> proxy_of(const urls::url& url, const std::string& where) {
  std::string address =
      proxy_for(std::string(url.scheme()), std::string(url.host_address()), port_of(url));
  if (address.empty()) return std::nullopt;
  if (address.find("://") == std::string::npos) address = "http://" + address;
  const auto proxy = urls::parse_uri(address);
  if (!proxy || proxy->scheme() != "http" || proxy->host().empty()) {
    // Without what may be a password.
    const auto at = address.rfind('@');
    fail(ErrorKind::kInvalidArgument,
         "[{}] expected the address of an http proxy in the environment but got '{}'", where,
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
asio::awaitable<HttpResponse> read_response(Stream& stream, const HttpRequest& request,
                                            const BodySink& sink) {
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
    socket.expires_at(until(kSilenceTimeout, request));
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
                                  const urls::url& proxy, const HttpRequest& request) {
  const std::string host = std::string(url.encoded_host()) + ":" + port_of(url);
  http::request<http::empty_body> message(http::verb::connect, host, 11);
  message.set(http::field::host, host);
  message.set(http::field::user_agent, "fovea/" FOVEA_VERSION);
  authorize(message, proxy);
  socket.expires_at(until(kSilenceTimeout, request));
  co_await http::async_write(socket, message, use_awaitable);
  beast::flat_buffer buffer(kHeaderBytesMax);
  http::response_parser<http::empty_body> parser;
  parser.skip(true);  // no body follows, whatever the header says
  co_await http::async_read_header(socket, buffer, parser, use_awaitable);
  const unsigned status = parser.get().result_int();
  if (status / 100 == 2) co_return;
  const std::string text =
      fmt::format("[{}] expected the proxy '{}' to reach '{}' but got status {}", request.where,
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
  beast::get_lowest_layer(stream).expires_at(until(kSilenceTimeout, request));
  co_await http::async_write(stream, message, use_awaitable);
  co_return co_await read_response(stream, request, sink);
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

IpAddress address_of(const asio::ip::address& address) {
  IpAddress out;
  out.is_v4 = address.is_v4();
  if (out.is_v4) {
    const auto bytes = address.to_v4().to_bytes();
    std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
  } else {
    out.bytes = address.to_v6().to_bytes();
  }
  return out;
}

asio::awaitable<std::vector<Tcp::endpoint>> addresses_of(const urls::url& url,
                                                         const HttpRequest& request) {
  const HttpTarget target = target_of(url);
  std::vector<Tcp::endpoint> endpoints;
  const auto port = read_number<uint16_t>(target.port, 1, 65535);
  if (!port) {
    fail(ErrorKind::kInvalidArgument, "[{}] expected a port of 1 to 65535 but got '{}'",
         request.where, target.port);
  }
  if (target.is_name && request.resolve) {
    for (const auto& address : request.resolve(target.host)) {
      endpoints.emplace_back(asio::ip::make_address(address.text()), *port);
    }
    co_return endpoints;
  }
  Tcp::resolver resolver(co_await asio::this_coro::executor);
  const auto found = co_await resolver.async_resolve(target.host, target.port, use_awaitable);
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  co_return endpoints;
}

void check_addresses(const urls::url& url, const std::vector<Tcp::endpoint>& endpoints,
                     bool by_proxy, const HttpRequest& request) {
  const HttpTarget target = target_of(url);
  if (!by_proxy) {
    for (const auto& end : endpoints) {
      request.check_address(target, address_of(end.address()));
    }
  } else if (!target.is_name) {
    const auto address = IpAddress::parse(target.host);
    if (!address) {
      fail(ErrorKind::kInvalidArgument, "[{}] expected an address but got '{}'", request.where,
           target.host);
    }
    request.check_address(target, *address);
  }
}

bool leads_here(const Tcp::socket& socket) {
  return socket.remote_endpoint().address() == socket.local_endpoint().address();
}

asio::awaitable<HttpResponse> connect_and_ask(const urls::url& url, const HttpRequest& request,
                                              const BodySink& sink) {
  if (request.check_target) request.check_target(target_of(url));
  const auto proxy = request.use_proxy ? proxy_of(url, request.where) : std::optional<urls::url>();
  const auto endpoints = co_await addresses_of(proxy ? *proxy : url, request);
  if (request.check_address) check_addresses(url, endpoints, proxy.has_value(), request);
  beast::tcp_stream socket(co_await asio::this_coro::executor);
  socket.expires_at(until(kConnectTimeout, request));
  co_await socket.async_connect(endpoints, use_awaitable);
  if (!proxy && request.check_own && leads_here(socket.socket())) request.check_own(target_of(url));
  if (url.scheme() == "http") {
    co_return co_await ask(socket, url, request, sink, proxy ? &*proxy : nullptr);
  }
  if (proxy) co_await open_tunnel(socket, url, *proxy, request);
  co_return co_await ask_over_tls(std::move(socket), url, request, sink);
}

}  // namespace

std::string HttpTarget::origin() const { return fmt::format("{}://{}:{}", scheme, host, port); }

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

int64_t HttpResponse::number(const std::string& name) const {
  return read_number<int64_t>(header(name), 0, std::numeric_limits<int64_t>::max()).value_or(-1);
}

HttpResponse http_get(const HttpRequest& request, const BodySink& sink) {
  const urls::url url = parsed(request.url, request.where);
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
    throw PassingError(
        ErrorKind::kIo,
        fmt::format("[{}] expected an answer from '{}' but got: {}", request.where,
                    std::string(url.encoded_host_and_port()), error.code().message()));
  }
  return response;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string resolve_url(const std::string& url, const std::string& location,
                        const std::string& where) {
  urls::url target;
  const auto reference = urls::parse_uri_reference(location);
  if (!reference || !urls::resolve(parsed(url, where), *reference, target)) {
    fail(ErrorKind::kInvalidData, "[{}] expected an address to go on to but got '{}'", where,
         location);
  }
  return std::string(target.buffer());
}

std::string origin_of(const std::string& url, const std::string& where) {
  const urls::url parts = parsed(url, where);
  return fmt::format("{}://{}:{}", std::string(parts.scheme()), std::string(parts.encoded_host()),
                     port_of(parts));
}

}  // namespace fovea
