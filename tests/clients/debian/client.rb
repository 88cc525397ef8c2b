# A client of the AWS SDK for Ruby v3. Prints what it sees as JSON.
#
# Debian has the core of the SDK, but not the gem of WorkSpaces. That gem is generated from the API
# model; this makes the same shapes from the model that boto3 ships: client.rb URL MODEL

require "aws-sdk-core"
require "json"

def underscore(name) = name.gsub(/([a-z0-9])([A-Z])/, "\\1_\\2").downcase.to_sym

MODEL = JSON.parse(File.read(ARGV[1]))
SHAPES = Hash.new do |shapes, name|
  model = MODEL["shapes"][name]
  kind = { "timestamp" => "Timestamp", "list" => "List", "structure" => "Structure",
           "integer" => "Integer", "boolean" => "Boolean" }.fetch(model["type"], "String")
  shape = shapes[name] = Seahorse::Model::Shapes.const_get("#{kind}Shape").new(name: name)
  shape.member = Seahorse::Model::Shapes::ShapeRef.new(shape: shapes[model["member"]["shape"]]) if kind == "List"
  model.fetch("members", {}).each do |member, ref|
    ruby_name = underscore(member)
    shape.add_member(ruby_name, Seahorse::Model::Shapes::ShapeRef.new(shape: shapes[ref["shape"]], location_name: member))
  end
  shape.struct_class = Struct.new(*shape.member_names) { include Aws::Structure } if shape.respond_to?(:struct_class) && shape.member_names.any?
  shape
end

API = Seahorse::Model::Api.new.tap do |api|
  api.version = MODEL["metadata"]["apiVersion"]
  api.metadata = MODEL["metadata"].merge("protocol" => "json")
  %w[RebuildWorkspaces DescribeWorkspaces].each do |name|
    model = MODEL["operations"][name]
    operation = Seahorse::Model::Operation.new
    operation.name = name
    operation.http_method = "POST"
    operation.http_request_uri = "/"
    operation.input = Seahorse::Model::Shapes::ShapeRef.new(shape: SHAPES[model["input"]["shape"]])
    operation.output = Seahorse::Model::Shapes::ShapeRef.new(shape: SHAPES[model["output"]["shape"]])
    operation.errors = model["errors"].map { |error| Seahorse::Model::Shapes::ShapeRef.new(shape: SHAPES[error["shape"]]) }
    operation[:pager] = Aws::Pager.new(limit_key: "limit", tokens: { "next_token" => "next_token" }) if name.start_with?("Describe")
    api.add_operation(underscore(name), operation)
  end
end

module Aws::WorkSpaces
  module Errors
    extend Aws::Errors::DynamicErrors
  end

  class Client < Seahorse::Client::Base
    include Aws::ClientStubs
    @identifier = :workspaces
    class << self
      attr_reader :identifier
      def errors_module = Errors
    end
    set_api(API)
    add_plugin(Seahorse::Client::Plugins::ContentLength)
    %w[CredentialsConfiguration ParamConverter ParamValidator UserAgent RetryErrors GlobalConfiguration
       RegionalEndpoint EndpointDiscovery EndpointPattern ResponsePaging StubResponses TransferEncoding
       SignatureV4 Protocols::JsonRpc].each do |plugin|
      file = underscore(plugin.gsub("::", "/"))
      require "aws-sdk-core/plugins/#{file}"
      add_plugin(Aws::Plugins.const_get(plugin))
    end

    def build_request(name, params = {})
      context = Seahorse::Client::RequestContext.new(
        operation_name: name, operation: config.api.operation(name), client: self, params: params, config: config
      )
      context[:gem_name] = "aws-sdk-workspaces"
      context[:gem_version] = Aws::CORE_GEM_VERSION
      Seahorse::Client::Request.new(@handlers.for(name), context)
    end
  end
end

client = Aws::WorkSpaces::Client.new(
  endpoint: ARGV[0], region: "us-east-1", credentials: Aws::Credentials.new("test", "test")
)
rebuild = -> { client.build_request(:rebuild_workspaces, rebuild_workspace_requests: [{ workspace_id: "ws-available0001" }]).send_request.failed_requests }
accepted, again = rebuild.call, rebuild.call
begin
  client.build_request(:describe_workspaces, user_name: "ana.silva").send_request
rescue Aws::WorkSpaces::Errors::InvalidParameterValuesException => error
  refused = error
end
listed = client.build_request(:describe_workspaces, limit: 7).send_request.flat_map { |page| page.workspaces.map(&:workspace_id) }
puts JSON.generate(
  accepted: accepted.size, again: again[0].error_code, error: refused.code, message: refused.message,
  modelled: true, listed: listed
)
